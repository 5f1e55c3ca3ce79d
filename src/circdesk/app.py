"""The application factory: puts the parts together, in order; nothing else composes."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine

from circdesk.auth.credentials import Authenticator
from circdesk.auth.demo import PUBLIC_CLIENT_ID
from circdesk.auth.mail_hook import MailHook
from circdesk.auth.oauth.server import AuthorizationServer
from circdesk.auth.pages import oauth_pages
from circdesk.auth.tokens import AccessTokens
from circdesk.contract.application import ContractApp, MakeView
from circdesk.contract.contract import Contract, load_contract
from circdesk.contract.door import Door, Limits
from circdesk.contract.forms import WebPage
from circdesk.contract.pages import docs_pages
from circdesk.db.commits import Commits
from circdesk.db.engine import make_engine, make_replica_engine
from circdesk.db.positions import make_positions
from circdesk.db.replica import Replica
from circdesk.db.touches import generations_of
from circdesk.db.unit_of_work import Sessions, make_sessions
from circdesk.edge.again import Again
from circdesk.edge.at_once import AtOnce
from circdesk.edge.beside import Beside
from circdesk.edge.caching import Caching
from circdesk.edge.compression import Compression
from circdesk.edge.extensions import bind_limiter, cache, make_limiter
from circdesk.edge.guarded_door import GuardedDoor
from circdesk.edge.idempotency import Idempotency
from circdesk.edge.kept import KeptAnswers
from circdesk.edge.limits import RateLimits
from circdesk.edge.metrics import forget_pool, watch_pool
from circdesk.edge.metrics_page import MetricsPage
from circdesk.edge.middlewares import Middleware, before_the_door
from circdesk.edge.policies import Buckets, read_policies
from circdesk.edge.reads import Reads
from circdesk.edge.refusals import refuse
from circdesk.edge.release import release_of
from circdesk.edge.tracing import request_spans
from circdesk.edge.views import add_error_handlers, make_page_view, make_view_factory
from circdesk.resources import directory
from circdesk.service.contract_bodies import contract_bodies
from circdesk.service.probes import Probes
from circdesk.settings import Settings


@dataclass(frozen=True, slots=True)
class _Parts:
    """What several others are made of; each is closed by `at_end`, the last one made first."""

    settings: Settings
    contract: Contract
    at_end: ExitStack
    engine: Engine
    sessions: Sessions
    access_tokens: AccessTokens
    authenticator: Authenticator
    probes: Probes


def create_app(settings: Settings) -> ContractApp:
    """The ASGI application for these settings.

    Raises:
        ContractError: The contract is invalid or differs from the handlers.
    """
    parts = _make_parts(settings)
    contract, sessions = parts.contract, parts.sessions
    pages = oauth_pages(settings, contract.document)
    limiter = make_limiter(settings.redis_url.get_secret_value() if settings.redis_url else None)
    buckets = Buckets(read_policies(settings), settings.secret_key.get_secret_value())
    limits = RateLimits(limiter, buckets)
    parts.at_end.callback(limits.close)
    generations = generations_of(parts.engine)
    shared = settings.redis_url is not None
    kept = KeptAnswers(cache, generations, shared=shared, commits=_make_commits(parts))
    caching = Caching(kept, generations, contract)
    again = _make_again(parts, caching, limits)
    app = ContractApp(
        contract,
        # An answer that is kept needs neither a unit of work nor what goes on in it.
        make_view=caching.around(_make_views(parts)),
        pages={page: make_page_view(sessions, page) for page in pages},
        middlewares=_middlewares(
            parts,
            _make_door(parts, GuardedDoor(limits, buckets, parts.authenticator, refuse), pages),
            caching,
            limits,
            again,
        ),
        around=limits.around,
        at_end=parts.at_end.close,
        threads=settings.threads,
        most=settings.max_concurrency,
        timeout=settings.body_timeout_seconds,
        # As long as two requests before it that run into their own deadline.
        patience=2 * settings.database_timeout_seconds,
    )
    add_error_handlers(app.app)
    kept.bind(app.app, settings)
    bind_limiter(limiter, app.app)
    _bind_services(parts, app, caching, limits)
    app.app.extensions["circdesk.again"] = again
    app.assemble()
    return app


def _make_parts(settings: Settings) -> _Parts:
    # The contract comes first: a service that breaks it must not open anything.
    contract = load_contract(directory("openapi"))
    at_end = ExitStack()
    engine = make_engine(settings)
    at_end.callback(engine.dispose)
    watch_pool(engine)
    at_end.callback(forget_pool, engine)
    sessions = make_sessions(engine)
    probes = Probes(engine, settings)
    at_end.callback(probes.close)
    access_tokens = AccessTokens(sessions, settings)
    at_end.callback(access_tokens.close)
    authenticator = Authenticator(sessions, access_tokens, settings.secret_key.get_secret_value())
    at_end.callback(authenticator.close)
    return _Parts(
        settings, contract, at_end, engine, sessions, access_tokens, authenticator, probes
    )


def _make_commits(parts: _Parts) -> Commits | None:
    """What tells those who hear of no change, as one does by Redis, that there was none.

    A replica shows changes later than the primary has them; then it cannot be told.
    """
    settings = parts.settings
    if settings.redis_url is not None or settings.database_replica_url is not None:
        return None
    commits = Commits(parts.engine)
    parts.at_end.callback(commits.close)
    return commits


def _make_views(parts: _Parts) -> MakeView:
    """What makes a view for each operation: one that reads where it may, and writes once."""
    settings = parts.settings
    idempotency = Idempotency(parts.sessions, settings.encryption_key)
    make_view = make_view_factory(
        parts.sessions, idempotency, upload_limit=settings.max_import_bytes
    )
    engine = make_replica_engine(settings)
    if engine is None:
        return make_view
    replica = Replica(parts.engine, engine, parts.sessions)
    parts.at_end.callback(replica.close)
    positions = make_positions(settings.redis_url)
    return Reads(replica, positions, settings.secret_key.get_secret_value()).around(make_view)


def _make_again(parts: _Parts, caching: Caching, limits: RateLimits) -> Again | None:
    """What tells answers again that are kept in memory, where no Redis is waited for.

    Where requests are traced each has a span, also one that repeats another.
    """
    if parts.settings.redis_url is not None or request_spans():
        return None
    return Again(caching=caching, limits=limits, hops=parts.settings.proxy_hops)


def _middlewares(
    parts: _Parts, door: Middleware, caching: Caching, limits: RateLimits, again: Again | None
) -> list[Middleware]:
    """All middlewares, the outermost first.

    Whatever passes the door keeps to the contract, and probes need no thread of Flask's. What is
    kept in memory, where no Redis is waited for, is answered around the door, and before all else
    when it is asked for again.
    """
    in_memory = parts.settings.redis_url is None
    return [
        *([again.around] if again else []),
        *before_the_door(parts.settings),
        Compression,
        door,
        *([partial(AtOnce, caching=caching, limits=limits)] if in_memory else []),
        partial(Beside, contract=parts.contract, probes=parts.probes),
    ]


def _make_door(parts: _Parts, guard: GuardedDoor, pages: Iterable[WebPage]) -> partial[Door]:
    settings = parts.settings
    metrics_page = MetricsPage(parts.sessions, settings)
    parts.at_end.callback(metrics_page.close)
    return partial(
        Door,
        contract=parts.contract,
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


def _bind_services(parts: _Parts, app: ContractApp, caching: Caching, limits: RateLimits) -> None:
    """Let handlers find what they need, by name."""
    settings = parts.settings
    mail_hook = MailHook(settings.mail_hook_url)
    parts.at_end.callback(mail_hook.close)
    app.app.extensions |= contract_bodies(parts.contract, settings.public_url)
    app.app.extensions |= {
        "circdesk.settings": settings,
        "circdesk.contract": parts.contract,
        "circdesk.release": release_of(settings),
        "circdesk.caching": caching,
        "circdesk.access_tokens": parts.access_tokens,
        "circdesk.mail_hook": mail_hook,
        "circdesk.probes": parts.probes,
        "circdesk.rate_limits": limits,
        "circdesk.authorization_server": AuthorizationServer(
            settings.public_url, parts.access_tokens
        ),
    }


def _docs_client(settings: Settings) -> str:
    """The client of the demo; elsewhere people type in one of their own."""
    return str(PUBLIC_CLIENT_ID) if settings.env in ("development", "sandbox") else ""
