"""What a request passes on its way to the door, in order."""

from collections.abc import Callable
from functools import partial

from starlette.types import ASGIApp

from circdesk.edge.addresses import OneAddress
from circdesk.edge.ceilings import Ceilings
from circdesk.edge.cors import Cors
from circdesk.edge.proxies import BelievedProxies
from circdesk.edge.requests import EveryRequest
from circdesk.edge.tracing import request_spans
from circdesk.settings import Settings

Middleware = Callable[[ASGIApp], ASGIApp]


def before_the_door(settings: Settings) -> list[Middleware]:
    """The middlewares, the outermost first.

    Who is calling is the same for all that follows. Whatever happens further in is answered with a
    request id and what a browser must be told, logged, and counted once, with the bytes that leave.
    What is beyond all measure is refused before it is looked at.
    """
    return [
        *_proxies(settings),
        *_cors(settings),
        partial(EveryRequest, secure=settings.public_url.startswith("https:")),
        *request_spans(),
        Ceilings,
        *_one_address(settings),
    ]


def _cors(settings: Settings) -> list[Middleware]:
    """Without an origin that may read answers, nothing is said of any."""
    origins = settings.allowed_origins
    return [partial(Cors, origins=origins)] if origins else []


def _proxies(settings: Settings) -> list[Middleware]:
    """Where nothing stands in front of the service, nobody is believed to speak for others."""
    return [partial(BelievedProxies, hops=settings.proxy_hops)] if settings.proxy_hops else []


def _one_address(settings: Settings) -> list[Middleware]:
    """On a desk a browser knows this machine by several names; elsewhere a proxy has one."""
    if settings.env not in ("development", "sandbox"):
        return []
    return [partial(OneAddress, public_url=settings.public_url)]
