"""The sign-in page.

Its form carries a token that belongs to a cookie of the same browser, so that no other site can
sign a person in to an account that is not theirs (login CSRF).
"""

import hmac
import re
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from circdesk.auth.lockout import TooManyAttempts
from circdesk.auth.oauth.authorization import (
    PageError,
    RedirectError,
    read_authorization_request,
)
from circdesk.auth.pages.common import BadForm, PageSettings, read_form, redirect, render
from circdesk.auth.problems import CsrfTokenInvalid, challenge
from circdesk.auth.sessions import is_plain_loopback, session_cookie, start_session
from circdesk.auth.sign_in import SignInFailed, sign_in
from circdesk.contract.forms import FormRequest, Reply
from circdesk.contract.problems import Problem
from circdesk.db.unit_of_work import current_session

_COOKIE = "circdesk_form"
_NONCE = re.compile(r"[A-Za-z0-9_-]{43}")
_AUTHORIZE = "/oauth/authorize?"
# Where a person goes who came for nothing else.
_HOME = "/docs"
_LONGEST_PASSWORD = 1024
_LONGEST_EMAIL = 320


class SignInPages:
    """`/oauth/sign-in`: asks for email and password."""

    def __init__(self, settings: PageSettings) -> None:
        self._settings = settings

    def show(self, form: FormRequest) -> Reply:
        """The empty form."""
        following = parse_qs(form.query).get("next", [_HOME])[0]
        return self._ask(form, _own_path(following))

    def submit(self, form: FormRequest) -> Reply:
        """Sign in and go on, or show the form again with what was wrong.

        Raises:
            CsrfTokenInvalid: The form was not made for this browser.
            BadForm: The form has no such fields.
        """
        fields = read_form(form)
        given = fields.get("form_token", "").encode()
        nonce = _read_nonce(form)
        if nonce is None or not hmac.compare_digest(given, self._token(nonce).encode()):
            raise CsrfTokenInvalid("This form is too old, or of another browser; load it again.")
        email, password = fields.get("email", ""), fields.get("password", "")
        following = _own_path(fields.get("next", _HOME))
        if not email or len(email) > _LONGEST_EMAIL or len(password) > _LONGEST_PASSWORD:
            return self._ask(form, following, email[:_LONGEST_EMAIL], _wrong())
        try:
            user = sign_in(current_session(), email.strip(), password)
        except (SignInFailed, TooManyAttempts) as problem:
            return self._ask(form, following, email, problem)
        _, token = start_session(current_session(), user)
        return redirect(following, {"Set-Cookie": session_cookie(token, self._settings.public_url)})

    def _ask(
        self, form: FormRequest, following: str, email: str = "", problem: Problem | None = None
    ) -> Reply:
        nonce = _read_nonce(form) or secrets.token_urlsafe(32)
        headers = {"Set-Cookie": self._cookie(nonce), **(problem.headers if problem else {})}
        client, redirect_uri = self._destination(following)
        return render(
            "sign_in",
            problem.status if problem else 200,
            redirect_uri=redirect_uri,
            headers=headers,
            client=client,
            email=email,
            following=following,
            form_token=self._token(nonce),
            seconds=int(headers.get("Retry-After", 0)),
            failed=problem is not None,
        )

    def _destination(self, following: str) -> tuple[str | None, str | None]:
        """The client that sent the person here, and where it will be told the answer.

        A consent that was given before leads there from this very form.
        """
        if not following.startswith(_AUTHORIZE):
            return None, None
        query = following.removeprefix(_AUTHORIZE)
        try:
            request = read_authorization_request(
                current_session(), query, issuer=self._settings.public_url
            )
        except (PageError, RedirectError):
            return None, None
        return request.client.registered.name, request.redirect_uri

    def _token(self, nonce: str) -> str:
        key = self._settings.secret_key.encode()
        return hmac.new(key, b"form:" + nonce.encode(), "sha256").hexdigest()

    def _cookie(self, nonce: str) -> str:
        secure = "" if is_plain_loopback(self._settings.public_url) else "; Secure"
        return f"{_COOKIE}={nonce}; Path=/oauth; HttpOnly; SameSite=Lax{secure}"


def _own_path(path: str) -> str:
    """The path where the person goes next, which is one of ours. Raises BadForm."""
    if path != _HOME and not path.startswith(_AUTHORIZE):
        raise BadForm("This page leads only to the application that sent you here.")
    if not path.isascii() or not path.isprintable():
        raise BadForm("The address cannot be read.")
    return path


def _read_nonce(form: FormRequest) -> str | None:
    try:
        cookie = SimpleCookie(form.headers.get("cookie", "")).get(_COOKIE)
    except CookieError:
        return None
    # Quoted, a cookie may hold whatever would end our own header.
    return cookie.value if cookie and _NONCE.fullmatch(cookie.value) else None


def _wrong() -> SignInFailed:
    return SignInFailed(
        "The email or the password is wrong.", headers=challenge(["Session"], basic=False)
    )
