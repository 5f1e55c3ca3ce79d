"""OAuth clients: the applications that may ask for tokens (RFC 6749, 2; RFC 9700)."""

import re
from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from circdesk.audit.entries import record
from circdesk.auth.memory import forget_after_commit
from circdesk.auth.models import OAuthClient
from circdesk.auth.problems import scope_missing
from circdesk.auth.revocations import revoke
from circdesk.auth.scopes import raise_if_beyond
from circdesk.auth.secrets import hash_secret, new_secret
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import NotFound
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.versions import raise_if_known, raise_if_modified, show_alone
from circdesk.visits import current_caller

JSON = dict[str, Any]

_LOOPBACK = frozenset(("127.0.0.1", "[::1]", "localhost"))
# A host has none of the characters with which a URI could end a directive of the
# Content-Security-Policy, in which the consent page names it.
_WEB_URI = re.compile(
    r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(?:[/?].*)?"
)
_PRIVATE_USE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+-]*(\.[A-Za-z0-9+-]+)+:.+")


class RedirectUriInvalid(Problem):
    """A redirect URI leads where it must not, or there is none where one is needed."""

    code = "redirect_uri_invalid"
    status = 422
    title = "The redirect URIs cannot be used."
    advice = (
        "Register https addresses, http on a loopback address, or private-use schemes with a dot; "
        "authorization_code needs one."
    )


class GrantTypeImpossible(Problem):
    """A public client has no secret, by which it could act for itself."""

    code = "grant_type_impossible"
    status = 422
    title = "The client cannot use this grant type."
    advice = "Leave client_credentials out, or register a confidential client."


class ClientHasNoSecret(Problem):
    """A public client keeps no secret, so there is none to replace."""

    code = "client_has_no_secret"
    status = 409
    title = "A public client has no secret."
    advice = "Nothing is needed; where it can keep a secret, register a confidential client."


def list_clients(session: Session, query: PageQuery) -> Page:
    """One page of the clients."""
    return paginate(
        session,
        select(OAuthClient),
        sorts={"created_at": (OAuthClient.created_at,)},
        query=query,
        present=_present_row,
        scope="list_clients",
    )


def create_client(session: Session, content: JSON) -> JSON:
    """Register a client, and tell its secret, this once.

    Raises:
        GrantTypeImpossible: A public client would act for itself.
        RedirectUriInvalid: A redirect URI is not safe, or is missing.
        ScopeNotGranted: A scope is none of the caller's own.
    """
    raise_if_beyond(content["scopes"], current_caller().scopes)
    client = OAuthClient(type=content["type"])
    _fill(client, content)
    secret = _renew_secret(client) if client.type == "confidential" else None
    session.add(client)
    session.flush()
    record(session, "client.create", "client", client.id, scopes=client.scopes)
    return present(client) | {"client_secret": secret}


def read_client(session: Session, client_id: UUID) -> JSON:
    """One client. Raises NotFound."""
    raise_if_known(session, OAuthClient, OAuthClient.id == client_id)
    client = _find(session, client_id)
    show_alone(session, client)
    return present(client)


def patch_client(session: Session, client_id: UUID, changes: JSON) -> JSON:
    """Apply a merge patch (RFC 7396); tokens that are out keep what they have.

    Raises:
        NotFound: There is no such client.
        ScopeMissing: It has more scopes than the caller, who could act as it.
        PreconditionFailed: The caller knows an older version of it.
        GrantTypeImpossible, RedirectUriInvalid, ScopeNotGranted: As for `create_client`.
    """
    client = _find(session, client_id, changing=True)
    _raise_if_stronger(client)
    raise_if_modified(session, client)
    raise_if_beyond(changes.get("scopes", ()), current_caller().scopes)
    _fill(client, present(client) | changes)
    session.flush()
    forget_after_commit(session)
    changed, scopes = sorted(changes), client.scopes
    record(session, "client.update", "client", client_id, changed=changed, scopes=scopes)
    return present(client)


def delete_client(session: Session, client_id: UUID) -> None:
    """Delete a client with its grants and consents, and end its tokens.

    Raises NotFound and PreconditionFailed.
    """
    client = _find(session, client_id, changing=True)
    raise_if_modified(session, client)
    session.delete(client)
    revoke(session, client_id)
    record(session, "client.delete", "client", client_id)


def rotate_client_secret(session: Session, client_id: UUID) -> JSON:
    """Replace the secret at once, and tell the new one, this once.

    Raises:
        NotFound: There is no such client.
        ScopeMissing: It has more scopes than the caller, who could act as it.
        ClientHasNoSecret: It is a public one.
    """
    client = _find(session, client_id, changing=True)
    _raise_if_stronger(client)
    if client.type == "public":
        raise ClientHasNoSecret("This client is public, so it has no secret.")
    secret = _renew_secret(client)
    forget_after_commit(session)
    record(session, "client.secret_rotate", "client", client_id)
    return {"client_id": client_id, "client_secret": secret}


def present(client: OAuthClient) -> JSON:
    """A client as the contract shows it."""
    return {
        "id": client.id,
        "name": client.name,
        "type": client.type,
        "grant_types": client.grant_types,
        "redirect_uris": client.redirect_uris,
        "scopes": client.scopes,
        "created_at": client.created_at,
        "updated_at": client.updated_at,
    }


def _present_row(row: Row[*tuple[Any, ...]]) -> JSON:
    return present(row[0])


def _find(session: Session, client_id: UUID, *, changing: bool = False) -> OAuthClient:
    """The client; with `changing`, locked."""
    lock = {"key_share": True} if changing else None
    client = session.get(OAuthClient, client_id, with_for_update=lock)
    if client is None:
        raise NotFound(f"No client has the id {client_id}.")
    return client


def _fill(client: OAuthClient, content: JSON) -> None:
    client.name = content["name"]
    client.grant_types = sorted(content["grant_types"])
    client.redirect_uris = content["redirect_uris"] or []
    client.scopes = sorted(content["scopes"])
    if client.type == "public" and "client_credentials" in client.grant_types:
        message = "A public client cannot have the grant type client_credentials."
        details = [fault("body", "/grant_types", "grant_type", message)]
        raise GrantTypeImpossible(message, details=details)
    _raise_if_not_safe(client.redirect_uris)
    if "authorization_code" in client.grant_types and not client.redirect_uris:
        message = "The grant type authorization_code needs a redirect URI."
        details = [fault("body", "/redirect_uris", "required", message)]
        raise RedirectUriInvalid(message, details=details)


def _renew_secret(client: OAuthClient) -> str:
    secret = new_secret()
    client.secret_hash = hash_secret(secret)
    return secret


def _raise_if_stronger(client: OAuthClient) -> None:
    missing = sorted(set(client.scopes) - current_caller().scopes)
    if missing:
        raise scope_missing(missing)


def _raise_if_not_safe(redirect_uris: Collection[str]) -> None:
    faults = [
        fault("body", f"/redirect_uris/{place}", "redirect_uri", reason)
        for place, uri in enumerate(redirect_uris)
        for reason in _reasons_against(uri)
    ]
    if faults:
        raise RedirectUriInvalid("A redirect URI cannot be used.", details=faults)


def _reasons_against(uri: str) -> Iterator[str]:
    """What is wrong with a redirect URI, whose characters the contract has checked."""
    scheme = uri.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        if not _PRIVATE_USE_URI.fullmatch(uri):
            yield "a private-use scheme is a reversed domain name, with a dot (RFC 8252, 7.1)"
        return
    match = _WEB_URI.fullmatch(uri)
    if match is None or int(match[3] or 0) > 65_535:
        yield "the URI has no plain host and port"
    elif match[1] == "http" and match[2] not in _LOOPBACK:
        yield "http is only for loopback addresses; use https"
