"""The authorization endpoint as a person sees it: who asks, and for what."""

import hmac
from urllib.parse import urlencode
from uuid import UUID

from circdesk.accounts.models import User
from circdesk.auth.oauth.authorization import (
    AuthorizationRequest,
    PageError,
    RedirectError,
    approve,
    deny,
    is_consented,
    read_authorization_request,
)
from circdesk.auth.pages.common import PageSettings, error_page, read_form, redirect, render
from circdesk.auth.problems import CsrfTokenInvalid
from circdesk.auth.scopes import granted
from circdesk.auth.sessions import csrf_token, read_session
from circdesk.contract.forms import FormRequest, Reply
from circdesk.db.unit_of_work import current_session
from circdesk.visits import Caller, current_visit


class AuthorizePages:
    """`/oauth/authorize`: shows what a client asks for, and takes the answer."""

    def __init__(self, settings: PageSettings) -> None:
        self._settings = settings

    def show(self, form: FormRequest) -> Reply:
        """Ask the person, unless there is nobody to ask or nothing left to ask."""
        return self._answer(form.query, None)

    def decide(self, form: FormRequest) -> Reply:
        """Take the person's answer. Raises CsrfTokenInvalid for a form of another session."""
        fields = read_form(form)
        caller = current_visit().caller
        if caller is not None:
            given = fields.get("csrf_token", "").encode()
            if not hmac.compare_digest(given, self._csrf_token(caller).encode()):
                raise CsrfTokenInvalid("This form belongs to another session; load it again.")
        return self._answer(fields.get("request", ""), fields.get("decision"))

    def _answer(self, query: str, decision: str | None) -> Reply:
        session, caller = current_session(), current_visit().caller
        try:
            request = read_authorization_request(session, query, issuer=self._settings.public_url)
        except PageError as error:
            return error_page(400, str(error))
        except RedirectError as error:
            return redirect(error.location)
        if caller is None or caller.user_id is None:
            return redirect(f"/oauth/sign-in?{urlencode({'next': f'/oauth/authorize?{query}'})}")
        # Who says no is heard, also where they have said yes before.
        if decision == "deny":
            return redirect(deny(request))
        if decision == "allow" or is_consented(session, caller.user_id, request):
            return redirect(approve(session, request, caller.user_id))
        return self._ask(request, query, caller, caller.user_id)

    def _ask(
        self, request: AuthorizationRequest, query: str, caller: Caller, user_id: UUID
    ) -> Reply:
        user = current_session().get_one(User, user_id)
        scopes = sorted(granted(user.role, request.scopes))
        return render(
            "consent",
            redirect_uri=request.redirect_uri,
            client=request.client.registered.name,
            user=user,
            scopes=[(scope, self._settings.scopes[scope]) for scope in scopes],
            # The page then says why there is nothing to allow, and who else might.
            beyond_role=bool(request.scopes) and not scopes,
            destination=request.redirect_uri,
            request=query,
            csrf_token=self._csrf_token(caller),
            other_account=urlencode({"next": f"/oauth/authorize?{query}"}),
        )

    def _csrf_token(self, caller: Caller) -> str:
        web_session = read_session(current_session(), caller.credential_id)
        return csrf_token(self._settings.secret_key, web_session.token_hash)
