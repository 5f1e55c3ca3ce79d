"""The application factory: puts the parts together, in order; nothing else composes."""

from functools import partial
from typing import Any

import orjson
import yaml

from circdesk.auth.credentials import make_authenticate
from circdesk.contract.application import ContractApp
from circdesk.contract.contract import Contract, load_contract
from circdesk.contract.door import Door, Limits
from circdesk.contract.pages import docs_pages
from circdesk.contract.representations import Representation
from circdesk.db.engine import make_engine
from circdesk.db.unit_of_work import make_sessions
from circdesk.edge.refusals import refuse
from circdesk.edge.requests import EveryRequest
from circdesk.edge.views import add_error_handlers, make_view_factory
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
    door = partial(
        Door,
        contract=contract,
        pages=docs_pages(),
        authenticate=make_authenticate(settings.admin_key.get_secret_value()),
        refuse=refuse,
        limits=Limits(
            body_bytes=settings.max_body_bytes,
            stream_bytes=settings.max_import_bytes,
            body_seconds=settings.body_timeout_seconds,
        ),
    )
    app = ContractApp(
        contract,
        make_view=make_view_factory(sessions, upload_limit=settings.max_import_bytes),
        # Whatever happens further in is answered with a request id, logged, and counted once;
        # whatever passes the door keeps to the contract.
        middlewares=[EveryRequest, door],
        at_end=engine.dispose,
        threads=settings.threads,
        timeout=settings.body_timeout_seconds,
    )
    add_error_handlers(app.app)
    app.app.extensions |= _contract_bodies(contract) | {"circdesk.settings": settings}
    app.assemble()
    return app


def _contract_bodies(contract: Contract) -> dict[str, Any]:
    """The contract as it is served: made once, the same bytes for everybody."""
    text = yaml.safe_dump(contract.document, sort_keys=False, allow_unicode=True, width=100)
    return {
        CONTRACT_JSON: Representation(
            orjson.dumps(contract.document, option=orjson.OPT_INDENT_2),
            "application/json",
            "no-cache",
        ),
        CONTRACT_YAML: Representation(text.encode(), "application/yaml", "no-cache"),
    }
