"""What the pages share: rendering, headers, forms."""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from circdesk.contract.documents import JSON
from circdesk.contract.forms import FormRequest, Reply
from circdesk.contract.problems import Problem
from circdesk.settings import Settings

View = Callable[[FormRequest], Reply]

_TEMPLATES = Environment(
    loader=PackageLoader("circdesk.auth.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_STYLE = _TEMPLATES.get_template("style.css").render()
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the pages need to know of the service.

    Attributes:
        public_url: Where callers reach the service; the issuer of its tokens.
        secret_key: What CSRF tokens are made with.
        scopes: What each scope is for, in the contract's words.
    """

    public_url: str
    secret_key: str
    scopes: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings, document: JSON) -> "PageSettings":
        """The part of the settings and of the contract that the pages need."""
        flows = document["components"]["securitySchemes"]["OAuth2"]["flows"]
        return cls(
            public_url=settings.public_url or "",
            secret_key=settings.secret_key.get_secret_value(),
            scopes=flows["authorizationCode"]["scopes"],
        )


class BadForm(Problem):
    """A form that the page did not make."""

    code = "form_invalid"
    status = 400
    title = "The form cannot be read."
    advice = "Go back, load the page again, and send its form."


def render(
    name: str,
    status: int = 200,
    *,
    redirect_uri: str | None = None,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Reply:
    """A page; its form may lead to this service and, by a redirect, to `redirect_uri`."""
    body = _TEMPLATES.get_template(f"{name}.html").render(style=_STYLE, **values)
    return Reply(status, _headers(redirect_uri) | dict(headers or {}), body.encode())


def redirect(location: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Go on there with GET, also after a POST (RFC 9700, 4.12)."""
    fixed = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Reply(303, fixed | dict(headers or {}))


def read_form(form: FormRequest) -> dict[str, str]:
    """The fields of a form, each given once. Raises BadForm."""
    if form.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise BadForm("The form was sent with another media type.")
    try:
        text = form.body.decode()
        fields = parse_qs(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise BadForm("The form is not text in UTF-8.") from None
    if any(len(values) > 1 for values in fields.values()):
        raise BadForm("A field of the form was sent twice.")
    return {name: values[0] for name, values in fields.items()}


def with_problems_as_pages(view: View) -> View:
    """The view, its problems told on a page; a view raises them before it stores anything."""

    @wraps(view)
    def wrapped(form: FormRequest) -> Reply:
        try:
            return view(form)
        except Problem as problem:
            if problem.status >= 500:
                raise
            return error_page(problem.status, problem.message, problem.headers)

    return wrapped


def error_page(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """A page that says why it goes on no further."""
    return render("error", status, headers=headers, message=message)


def _headers(redirect_uri: str | None) -> dict[str, str]:
    targets = f"'self' {_source(redirect_uri)}" if redirect_uri else "'self'"
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
        f"form-action {targets}; frame-ancestors 'none'; base-uri 'none'"
    )
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def _source(uri: str) -> str:
    """A redirect URI as a Content-Security-Policy names it: by its origin.

    An app's own scheme has no origin, and the policy knows no IPv6 addresses (CSP 3, 2.3.1);
    they are named by their scheme alone.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and "[" not in parts.netloc:
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"
