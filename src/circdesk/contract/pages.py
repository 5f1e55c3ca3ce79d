"""The page for people: Swagger UI at `/docs`, from packaged files, without the network.

The files under `swagger_ui/release/` are Swagger UI's own, untouched; `release.json` names
their release and checksums. The page and its initializer are ours.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template
from types import MappingProxyType
from typing import Any

from circdesk.contract.representations import Representation

_FOLDER = files("circdesk.contract") / "swagger_ui"
_PAGE = "/docs"

# What Swagger UI was seen to need in a browser, and no more: it writes style attributes.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = (
    ("content-security-policy", _CONTENT_SECURITY_POLICY),
    ("referrer-policy", "no-referrer"),
)
# Where the authorization server sends the browser back to; its script tells the page and closes.
_REDIRECT = "oauth2-redirect.html"
_REDIRECT_POLICY = (
    "default-src 'none'; script-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REDIRECT_HEADERS = (
    ("content-security-policy", _REDIRECT_POLICY),
    ("referrer-policy", "no-referrer"),
)

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
}


def read_release() -> dict[str, Any]:
    """The packaged release: package, version, license, integrity, and sha256 of each file."""
    release: dict[str, Any] = json.loads((_FOLDER / "release.json").read_bytes())
    return release


@cache
def docs_pages(client_id: str = "") -> Mapping[str, Representation]:
    """`/docs` and the files that it loads, by path; read and compressed once for the process.

    Args:
        client_id: The OAuth client that the page signs people in with, where there is one.
    """
    assets = {name: (_FOLDER / "release" / name).read_bytes() for name in read_release()["files"]}
    assets["initializer.js"] = (_FOLDER / "initializer.js").read_bytes()
    pages = {f"{_PAGE}/{name}": _asset(name, body) for name, body in assets.items()}
    pages[f"{_PAGE}/{_REDIRECT}"] = Representation(
        assets[_REDIRECT], "text/html; charset=utf-8", "no-cache", _REDIRECT_HEADERS
    )
    page = _fill_page(assets, client_id)
    pages[_PAGE] = Representation(page, "text/html; charset=utf-8", "no-cache", _PAGE_HEADERS)
    return MappingProxyType(pages)


def _asset(name: str, body: bytes) -> Representation:
    media_type = _MEDIA_TYPES.get(PurePosixPath(name).suffix, "text/plain; charset=utf-8")
    return Representation(body, media_type, "public, max-age=86400")


def _fill_page(assets: Mapping[str, bytes], client_id: str) -> bytes:
    """The page, with each asset named by its content.

    An upgraded service then never shows an old script from a browser's cache.
    """
    template = Template((_FOLDER / "index.html").read_text(encoding="utf-8"))
    return template.substitute(
        client_id=escape(client_id),
        style=_address("swagger-ui.css", assets),
        bundle=_address("swagger-ui-bundle.js", assets),
        initializer=_address("initializer.js", assets),
        favicon_16=_address("favicon-16x16.png", assets),
        favicon_32=_address("favicon-32x32.png", assets),
    ).encode()


def _address(name: str, assets: Mapping[str, bytes]) -> str:
    return f"{_PAGE}/{name}?v={hashlib.sha256(assets[name]).hexdigest()[:12]}"
