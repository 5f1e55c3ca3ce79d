"""The application factory: puts the parts together, in order; nothing else composes."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import orjson
import yaml
from sqlalchemy import Engine
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
from circdesk.db.engine import make_engine, make_replica_engine
from circdesk.db.positions import make_positions
from circdesk.db.replica import Replica
from circdesk.db.touches import generations_of
from circdesk.db.unit_of_work import Sessions, make_sessions
from circdesk.edge.addresses import OneAddress
from circdesk.edge.beside import Beside
from circdesk.edge.caching import Caching
from circdesk.edge.ceilings import Ceilings
from circdesk.edge.compression import Compression
from circdesk.edge.cors import Cors
from circdesk.edge.extensions import bind_limiter, cache, make_limiter
from circdesk.edge.guarded_door import GuardedDoor
from circdesk.edge.idempotency import Idempotency
from circdesk.edge.kept import KeptAnswers, bind_cache
from circdesk.edge.limits import RateLimits
from circdesk.edge.metrics import forget_pool, watch_pool
from circdesk.edge.metrics_page import MetricsPage
from circdesk.edge.policies import Buckets, read_policies
from circdesk.edge.proxies import BelievedProxies
from circdesk.edge.reads import Reads
from circdesk.edge.refusals import refuse
from circdesk.edge.requests import EveryRequest
from circdesk.edge.security_headers import SecurityHeaders
from circdesk.edge.tracing import request_spans
from circdesk.edge.views import add_error_handlers, make_page_view, make_view_factory
from circdesk.resources import directory
from circdesk.service.handlers import CONTRACT_JSON, CONTRACT_YAML
from circdesk.service.probes import Probes
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
    metrics_page = MetricsPage(sessions, settings)
    probes = Probes(engine, settings)
    watch_pool(engine)

    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    limiter = make_limiter(redis_url)
    buckets = Buckets(read_policies(settings), settings.secret_key.get_secret_value())
    limits = RateLimits(limiter, buckets)
    guard = GuardedDoor(limits, buckets, authenticator, refuse)

    generations = generations_of(engine)
    kept = KeptAnswers(cache, generations, shared=settings.redis_url is not None)
    caching = Caching(kept, generations, contract)

    idempotency = Idempotency(sessions, settings.encryption_key)
    make_view = make_view_factory(sessions, idempotency, upload_limit=settings.max_import_bytes)
    replica = _find_replica(settings, engine, sessions)
    if replica is not None:
        positions = make_positions(settings.redis_url)
        reads = Reads(replica, positions, settings.secret_key.get_secret_value())
        make_view = reads.around(make_view)

    def close() -> None:
        limits.close()
        authenticator.close()
        mail_hook.close()
        access_tokens.close()
        metrics_page.close()
        probes.close()
        if replica is not None:
            replica.close()
        forget_pool(engine)
        engine.dispose()

    door = partial(
        Door,
        contract=contract,
        documents={**docs_pages(_docs_client(settings)), "/metrics": metrics_page},
        pages=pages,
        authenticate=guard.authenticate,
        refuse=guard.refuse,
        limits=Limits(
            body_bytes=settings.max_body_bytes,
            stream_bytes=settings.max_import_bytes,
            body_seconds=settings.body_timeout_seconds,
        ),
    )
    app = ContractApp(
        contract,
        # An answer that is kept needs neither a unit of work nor what goes on in it.
        make_view=caching.around(make_view),
        pages={page: make_page_view(sessions, page) for page in pages},
        # Who is calling is the same for all that follows. What a browser must be told stands in
        # every answer, that of the last resort included. Whatever happens further in is answered
        # with a request id, logged, and counted once, with the bytes that leave. What is beyond all
        # measure is refused before it is looked at; whatever passes the door keeps to the contract,
        # and probes need no thread of Flask's.
        middlewares=[
            *_proxies(settings),
            partial(SecurityHeaders, secure=settings.public_url.startswith("https:")),
            *_cors(settings),
            EveryRequest,
            *request_spans(),
            Compression,
            Ceilings,
            *_one_address(settings),
            door,
            partial(Beside, contract=contract, probes=probes),
        ],
        at_end=close,
        threads=settings.threads,
        most=settings.max_concurrency,
        timeout=settings.body_timeout_seconds,
        # As long as two requests before it that run into their own deadline.
        patience=2 * settings.database_timeout_seconds,
    )
    add_error_handlers(app.app)
    bind_cache(cache, app.app, settings)
    bind_limiter(limiter, app.app)
    limits.bind(app.app)
    app.app.extensions |= _contract_bodies(contract, settings.public_url)
    app.app.extensions |= {
        "circdesk.settings": settings,
        "circdesk.contract": contract,
        "circdesk.caching": caching,
        "circdesk.access_tokens": access_tokens,
        "circdesk.mail_hook": mail_hook,
        "circdesk.probes": probes,
        "circdesk.rate_limits": limits,
        "circdesk.authorization_server": AuthorizationServer(settings.public_url, access_tokens),
    }
    app.assemble()
    return app


def _find_replica(settings: Settings, primary: Engine, sessions: Sessions) -> Replica | None:
    engine = make_replica_engine(settings)
    return None if engine is None else Replica(primary, engine, sessions)


def _docs_client(settings: Settings) -> str:
    """The client of the demo; elsewhere people type in one of their own."""
    return str(PUBLIC_CLIENT_ID) if settings.env in ("development", "sandbox") else ""


def _cors(settings: Settings) -> list[Callable[[ASGIApp], ASGIApp]]:
    """Without an origin that may read answers, nothing is said of any."""
    origins = settings.allowed_origins
    return [partial(Cors, origins=origins)] if origins else []


def _proxies(settings: Settings) -> list[Callable[[ASGIApp], ASGIApp]]:
    """Where nothing stands in front of the service, nobody is believed to speak for others."""
    return [partial(BelievedProxies, hops=settings.proxy_hops)] if settings.proxy_hops else []


def _one_address(settings: Settings) -> list[Callable[[ASGIApp], ASGIApp]]:
    """On a desk a browser knows this machine by several names; elsewhere a proxy has one."""
    if settings.env not in ("development", "sandbox"):
        return []
    return [partial(OneAddress, public_url=settings.public_url)]


def _contract_bodies(contract: Contract, public_url: str) -> dict[str, Any]:
    """The contract as it is served: made when it is first asked for, the same for everybody."""
    document = with_addresses(contract.document, public_url)

    def as_json() -> Representation:
        body = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        return Representation(body, "application/json", "no-cache")

    def as_yaml() -> Representation:
        # The dumper that is written in C takes a tenth of the time of the other, which is a second.
        text = yaml.dump(
            document, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=100
        )
        return Representation(text.encode(), "application/yaml", "no-cache")

    return {CONTRACT_JSON: lru_cache(as_json), CONTRACT_YAML: lru_cache(as_yaml)}
