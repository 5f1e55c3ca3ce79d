"""The WSGI environment (PEP 3333) of an ASGI request."""

import io
import re
import sys
from typing import Any
from urllib.parse import quote

from starlette.types import Scope

Environ = dict[str, Any]

# Under this key the scope and the environment carry the checked call.
CALL = "circdesk.call"
# What the door and the authenticator have found out about a request, also about one that they
# refuse: the template of its path, its operation's name, and who is calling.
ROUTE = "circdesk.route"
OPERATION = "circdesk.operation"
CALLER = "circdesk.caller"

_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What a URI may have in its path and its query; nearly all addresses have nothing else.
_PLAIN = re.compile(rb"(?:[A-Za-z0-9/?:@!$&'()*+,;=._~-]|%[0-9A-Fa-f]{2})*")


def request_uri(scope: Scope) -> str:
    """Path and query as the caller sent them, with only what a URI allows in it (RFC 3986)."""
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    sent: bytes = scope["raw_path"] + query
    if _PLAIN.fullmatch(sent):
        return sent.decode()
    uri = quote(sent, safe="/?%:@!$&'()*+,;=-._~")
    return _STRAY_PERCENT.sub("%25", uri)


def make_environ(scope: Scope, body: Any) -> Environ:
    """A WSGI environment (PEP 3333); Flask's own reading of path and body stays unused."""
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "REQUEST_URI": request_uri(scope),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body) if isinstance(body, bytes) else body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        CALL: scope[CALL],
    }
    if scope.get("server"):
        host, port = scope["server"]
        # A Unix socket has no port.
        environ["SERVER_NAME"], environ["SERVER_PORT"] = host, str(port or 80)
    if scope.get("client"):
        environ["REMOTE_ADDR"] = scope["client"][0]
    for name, value in scope["headers"]:
        _add_header(environ, name.decode("latin-1"), value.decode("latin-1"))
    return environ


def _add_header(environ: Environ, name: str, value: str) -> None:
    # An underscore would let a header pass for another of the same environment name.
    if "_" in name:
        return
    key = name.upper().replace("-", "_")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    # Equal names are one list (RFC 9110, 5.3), and cookies one of their own (RFC 6265, 4.2.1).
    comma = "; " if key == "HTTP_COOKIE" else ", "
    environ[key] = f"{environ[key]}{comma}{value}" if key in environ else value
