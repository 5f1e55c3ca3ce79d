"""How many Python functions one read of a book calls: timings are too noisy to keep in CI.

The read goes the whole way, from the outermost middleware to the database and back, with the
settings of production: limits, access log, both checks. Each request asks for another book, so
that none is answered from what is kept; then all ask for one, which is.
"""

import asyncio
import gc
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import FrameType, MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from starlette.types import ASGIApp, Message, Scope

from circdesk.app import create_app
from circdesk.contract.application import ContractApp
from circdesk.edge import log_files
from circdesk.settings import Settings
from tests.circulation.conftest import Library

# The calls that one read takes today, by Python's minor version and the database; and those of one
# that is answered from what is kept, which asks no database. Who makes the path longer gives a
# reason in the commit that changes the number; who makes it shorter changes it, too, so that what
# was won is not lost again unseen.
CALLS = {
    (3, 11): {"sqlite": 521, "postgresql": 283},
}
CALLS_OF_A_HIT = {
    (3, 11): {"a hit": 46},
}
TOLERANCE = 0.10

# The first requests compile statements, open connections and import what is imported late; psycopg
# prepares a statement that it has seen five times.
WARM_UP, MEASURED = 6, 4

# What the threads' race decides: whether the event loop turns once more before the other thread has
# its answer, and who waits for whom.
_RACING = ("asyncio.", "concurrent.futures.", "selectors", "threading")
# Since Python 3.12 these are no calls (PEP 709).
_COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>")


class Calls:
    """Counts the Python functions that are called on the event loop and in Flask's thread."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.are_counted = False

    def count(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Count a call; the interpreter tells of each, in the thread that makes it."""
        if event != "call" or not self.are_counted:
            return
        module, code = str(frame.f_globals.get("__name__")), frame.f_code
        if not module.startswith((__name__, *_RACING)) and code.co_name not in _COMPREHENSIONS:
            self.counts[f"{module}.{code.co_qualname}"] += 1

    def begin(self, _frame: FrameType, _event: str, _argument: Any) -> None:
        """Watch a thread that has just begun, if it is one that runs requests.

        What is asked and stored beside the requests goes by the clock.
        """
        runs_requests = threading.current_thread().name.startswith("circdesk_")
        sys.setprofile(self.count if runs_requests else None)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the threads that begin in the block."""
        threading.setprofile(self.begin)
        try:
            yield
        finally:
            threading.setprofile(None)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is called in the block, and nothing that is called for its garbage."""
        gc.collect()
        gc.disable()
        self.counts.clear()
        self.are_counted = True
        sys.setprofile(self.count)
        try:
            yield
        finally:
            sys.setprofile(None)
            self.are_counted = False
            gc.enable()


async def ask(
    app: ASGIApp, path: str, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})
) -> int:
    """The status of the answer to a GET, or, with a body, to a POST."""
    statuses: list[int] = []
    sent = {"host": "127.0.0.1:8000", "user-agent": "test", "accept": "*/*", **headers}
    if body:
        sent |= {"content-type": "application/json", "content-length": str(len(body))}
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST" if body else "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "server": ("127.0.0.1", 8000),
        "client": ("192.0.2.1", 5),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    await app(scope, receive, send)
    return statuses[0]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[ContractApp]:
    """The whole application with one thread for requests, freed of its threads in the end."""
    app = create_app(settings.model_copy(update={"threads": 1}))
    async with app._lifespan(app):
        yield app


async def count_calls(settings: Settings, books: Sequence[UUID]) -> Counter[str]:
    """The calls of the shortest of some reads: whatever comes between only adds to them."""
    found: list[Counter[str]] = []
    calls = Calls()
    async with running(settings) as app:
        # The pool begins its thread with the first request.
        with calls.watching():
            for book in books:
                with calls.counting():
                    status = await ask(app, f"/api/books/{book}")
                assert status == 200
                found.append(calls.counts.copy())
    return min(found[WARM_UP:], key=Counter.total)


def database_of(settings: Settings) -> str:
    """sqlite or postgresql."""
    return settings.database_url.get_secret_value().partition(":")[0].partition("+")[0]


def raise_unless_as_before(
    what: str, counts: Counter[str], known: Mapping[str, int] | None
) -> None:
    """Fail where there are more calls than before, or fewer, and skip where nobody knows.

    Args:
        what: What was counted.
        counts: The calls, by function.
        known: How many there were, on this Python.
    """
    if known is None:
        pytest.skip(f"nobody has counted on this Python yet: {report(what, counts, 0)}")
    expected = known[what]
    assert abs(counts.total() - expected) <= TOLERANCE * expected, report(what, counts, expected)


def report(what: str, counts: Counter[str], expected: int) -> str:
    """What to do about it, and the functions that are called most."""
    most = "\n".join(f"{count:6}  {name}" for name, count in counts.most_common(15))
    packages: Counter[str] = Counter()
    for name, count in counts.items():
        packages[name.partition(".")[0]] += count
    parts = ", ".join(f"{package} {count}" for package, count in packages.most_common(8))
    return (
        f"On {what} it takes {counts.total()} calls, and {expected} stand in CALLS.\n"
        f"By package: {parts}\nCalled most:\n{most}"
    )


@pytest.fixture(autouse=True)
def _unlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look each second what others have done with the log file.

    To collect garbage before each request takes as long as that in a large process.
    """
    monkeypatch.setattr(log_files, "_LOOK_SECONDS", 3600)


def test_a_read_of_a_book_takes_as_many_calls_as_before(
    settings: Settings, library: Library, log_file: Callable[[], list[Any]]
) -> None:
    books = [library.book() for _ in range(WARM_UP + MEASURED)]

    counts = asyncio.run(count_calls(settings, books))

    raise_unless_as_before(database_of(settings), counts, CALLS.get(sys.version_info[:2]))
    assert len(log_file()) == WARM_UP + MEASURED


def test_a_book_that_is_kept_takes_as_many_calls_as_before(
    settings: Settings, kept_path: str, log_file: Callable[[], list[Any]]
) -> None:
    books = [UUID(kept_path.rpartition("/")[2])] * (WARM_UP + MEASURED)

    counts = asyncio.run(count_calls(settings, books))

    raise_unless_as_before("a hit", counts, CALLS_OF_A_HIT.get(sys.version_info[:2]))
    assert len(log_file()) == WARM_UP + MEASURED
