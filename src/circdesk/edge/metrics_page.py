"""`/metrics`, as Prometheus reads it; outside the contract, and not for everybody."""

import hmac
import ipaddress
import time
from collections.abc import Iterator
from contextlib import suppress

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from circdesk.auth.problems import CredentialsInvalid, CredentialsRequired, challenge
from circdesk.contract.headers import join_headers
from circdesk.contract.requests import NotFound, Overloaded
from circdesk.db.errors import DatabaseUnavailable
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.edge.metrics import meters, shared_directory
from circdesk.edge.metrics_files import sums
from circdesk.service.asking import Question
from circdesk.service.figures import Figures, read_figures
from circdesk.settings import Settings

# To count the library, and to add up what processes have counted.
_FIGURES_SECONDS, _TEXT_SECONDS = 2.0, 3.0
# However often the page is read, the library is counted no more often than this.
_FRESH_SECONDS = 15.0

# Name, meaning and label of each figure.
FAMILIES = {
    "loans": ("circdesk_loans", "Loans that are open, and of them those overdue.", "state"),
    "imports": ("circdesk_imports", "Imports, by their state.", "state"),
    "worker_queue": ("circdesk_worker_queue_length", "What waits for the worker.", "queue"),
}


class MetricsPage:
    """An ASGI application that answers with all metrics.

    Their numbers tell how a library is used. With a token, whoever sends it as a bearer reads them;
    without one, in development and sandbox, the machine that the service runs on. Elsewhere that
    machine may well be a proxy, which speaks for everybody.
    """

    def __init__(self, sessions: Sessions, settings: Settings) -> None:
        self._sessions = sessions
        token = settings.metrics_token
        self._token = token.get_secret_value().encode() if token else None
        self._on_a_desk = settings.env in ("development", "sandbox")
        self._count = Question(self._read_figures, seconds=_FIGURES_SECONDS)
        self._text = Question(self._make_text, seconds=_TEXT_SECONDS)
        self._figures: Figures = {}
        self._counted_at = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GET or a HEAD.

        Raises:
            CredentialsRequired, CredentialsInvalid: The token is missing or wrong.
            NotFound: Nobody may read them here.
            Overloaded: What processes have counted was not added up in time.
        """
        del receive
        self._raise_if_not_allowed(scope)
        await self._refresh_figures()
        try:
            text = await self._text()
        except TimeoutError:
            raise Overloaded("The metrics take too long.", headers={"Retry-After": "5"}) from None
        headers = [
            (b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode()),
            (b"content-length", b"%d" % len(text)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else text
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Free the threads."""
        self._count.close()
        self._text.close()

    def _raise_if_not_allowed(self, scope: Scope) -> None:
        if self._token is None:
            if not (self._on_a_desk and _is_loopback(scope)):
                raise NotFound("No resource has this path.")
            return
        sent = join_headers(scope["headers"]).get(b"authorization")
        offer = challenge(["OAuth2"], basic=False)
        if sent is None:
            raise CredentialsRequired("Send the token of the metrics.", headers=offer)
        scheme, _, token = sent.partition(b" ")
        good = hmac.compare_digest(token.strip(), self._token)
        if scheme.lower() != b"bearer" or not good:
            raise CredentialsInvalid("This is not the token of the metrics.", headers=offer)

    async def _refresh_figures(self) -> None:
        """Count the library anew; where that fails there are no figures rather than old ones."""
        if time.monotonic() - self._counted_at < _FRESH_SECONDS:
            return
        self._figures = {}
        with suppress(TimeoutError, DatabaseUnavailable, SQLAlchemyError):
            self._figures = await self._count()
            self._counted_at = time.monotonic()

    def _read_figures(self) -> Figures:
        with unit_of_work(self._sessions, writing=False) as session:
            return read_figures(session)

    def _make_text(self) -> bytes:
        figures = CollectorRegistry()
        figures.register(_Gauges(self._figures))
        directory = shared_directory()
        if directory is None:
            return generate_latest(meters().registry) + generate_latest(figures)
        with sums(directory) as registry:
            return generate_latest(registry) + generate_latest(figures)


class _Gauges(Collector):
    """The figures of one moment, as gauges."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """A family for each figure."""
        for figure, counts in self._figures.items():
            name, meaning, label = FAMILIES[figure]
            family = GaugeMetricFamily(name, meaning, labels=[label])
            for value, count in counts.items():
                family.add_metric([value], count)
            yield family


def _is_loopback(scope: Scope) -> bool:
    if not scope.get("client"):
        return False
    try:
        return ipaddress.ip_address(scope["client"][0]).is_loopback
    except ValueError:
        return False
