"""Pages for people: sign-in and consent, plain HTML that works without scripts.

They stand outside the contract, at `/oauth/authorize` and `/oauth/sign-in`.
"""

from circdesk.auth.pages.authorizing import AuthorizePages
from circdesk.auth.pages.common import PageSettings, with_problems_as_pages
from circdesk.auth.pages.signing_in import SignInPages
from circdesk.contract.documents import JSON
from circdesk.contract.forms import WebPage
from circdesk.settings import Settings

AUTHORIZE = "/oauth/authorize"
SIGN_IN = "/oauth/sign-in"


def oauth_pages(settings: Settings, document: JSON) -> list[WebPage]:
    """The pages, by path and method; the contract's `document` says what each scope is for."""
    shared = PageSettings.of(settings, document)
    authorize, sign_in = AuthorizePages(shared), SignInPages(shared)
    views = (
        ("show_authorization", "GET", AUTHORIZE, authorize.show),
        ("decide_authorization", "POST", AUTHORIZE, authorize.decide),
        ("show_sign_in", "GET", SIGN_IN, sign_in.show),
        ("submit_sign_in", "POST", SIGN_IN, sign_in.submit),
    )
    return [
        WebPage(name, method, path, with_problems_as_pages(view))
        for name, method, path, view in views
    ]
