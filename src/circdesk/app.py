"""The application factory: puts the parts together, in order; nothing else composes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
import yaml
from starlette.types import ASGIApp

from circdesk.auth.credentials import Authenticator
from circdesk.auth.demo import PUBLIC_CLIENT_ID
from circdesk.auth.mail_hook import MailHook
from circdesk.auth.oauth.server import AuthorizationServer
from circdesk.auth.pages import oauth_pages
from circdesk.auth.tokens import AccessTokens
from circdesk.contract.application import ContractApp
from circdesk.contract.contract import Contract, load_contract
from circdesk.contract.documents import with_addresses
from circdesk.contract.door import Door, Limits
from circdesk.contract.pages import docs_pages
from circdesk.contract.representations import Representation
from circdesk.db.engine import make_engine
from circdesk.db.unit_of_work import make_sessions
from circdesk.edge.addresses import OneAddress
from circdesk.edge.idempotency import Idempotency
from circdesk.edge.refusals import refuse
from circdesk.edge.requests import EveryRequest
from circdesk.edge.views import add_error_handlers, make_page_view, make_view_factory
from circdesk.resources import directory
from circdesk.service.handlers import CONTRACT_JSON, CONTRACT_YAML
from circdesk.settings import Settings


def create_app(settings: Settings) -> ContractApp:
    """The ASGI application for these settings.

    Raises:
        ContractError: The contract is invalid or differs from the handlers.
    """
    # The contract comes first: a service that breaks it must not open anything.
    contract = load_contract(directory("openapi"))
    engine = make_engine(settings)
    sessions = make_sessions(engine)
    access_tokens = AccessTokens(sessions, settings)
    authenticator = Authenticator(sessions, access_tokens, settings.secret_key.get_secret_value())
    mail_hook = MailHook(settings.mail_hook_url)
    pages = oauth_pages(settings, contract.document)

    def close() -> None:
        authenticator.close()
        mail_hook.close()
        access_tokens.close()
        engine.dispose()

    door = partial(
        Door,
        contract=contract,
        documents=docs_pages(_docs_client(settings)),
        pages=pages,
        authenticate=authenticator,
        refuse=refuse,
        limits=Limits(
            body_bytes=settings.max_body_bytes,
            stream_bytes=settings.max_import_bytes,
            body_seconds=settings.body_timeout_seconds,
        ),
    )
    app = ContractApp(
        contract,
        make_view=make_view_factory(
            sessions,
            Idempotency(sessions, settings.encryption_key),
            upload_limit=settings.max_import_bytes,
        ),
        pages={page: make_page_view(sessions, page) for page in pages},
        # Whatever happens further in is answered with a request id, logged, and counted once;
        # whatever passes the door keeps to the contract.
        middlewares=[EveryRequest, *_one_address(settings), door],
        at_end=close,
        threads=settings.threads,
        timeout=settings.body_timeout_seconds,
    )
    add_error_handlers(app.app)
    app.app.extensions |= _contract_bodies(contract, settings.public_url)
    app.app.extensions |= {
        "circdesk.settings": settings,
        "circdesk.contract": contract,
        "circdesk.access_tokens": access_tokens,
        "circdesk.mail_hook": mail_hook,
        "circdesk.authorization_server": AuthorizationServer(settings.public_url, access_tokens),
    }
    app.assemble()
    return app


def _docs_client(settings: Settings) -> str:
    """The client of the demo; elsewhere people type in one of their own."""
    return str(PUBLIC_CLIENT_ID) if settings.env in ("development", "sandbox") else ""


def _one_address(settings: Settings) -> list[Callable[[ASGIApp], ASGIApp]]:
    """On a desk a browser knows this machine by several names; elsewhere a proxy has one."""
    if settings.env not in ("development", "sandbox"):
        return []
    return [partial(OneAddress, public_url=settings.public_url)]


def _contract_bodies(contract: Contract, public_url: str) -> dict[str, Any]:
    """The contract as it is served: made once, the same bytes for everybody."""
    document = with_addresses(contract.document, public_url)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return {
        CONTRACT_JSON: Representation(
            orjson.dumps(document, option=orjson.OPT_INDENT_2),
            "application/json",
            "no-cache",
        ),
        CONTRACT_YAML: Representation(text.encode(), "application/yaml", "no-cache"),
    }
