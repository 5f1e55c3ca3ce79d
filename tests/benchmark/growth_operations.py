"""What is asked of a library of each size: each operation of the catalogue and the desk."""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from desk import KEY  # type: ignore[import-not-found]  # It lies beside this file.
from growing_library import GrowingLibrary  # type: ignore[import-not-found]
from growth_verdicts import GivenUp  # type: ignore[import-not-found]

JSON = dict[str, Any]
Times = dict[str, float]

# Words that are searched in turn.
WORDS = 5
MATCHES = {"search_few": 10, "search_some": 1_000, "search_many": 1_000_000_000}
# A walk takes pages as long as it may; what is measured of it has pages of the usual length.
LONG_PAGE, PAGE = 100, 20
# So many places at each end of the walk are asked for in turn.
ENDS = 10
# The service closes a connection that is idle for five seconds.
_IDLE = 3
AUTHORS_PAGE = "/api/books?author={}&available=true&year_from=1930&sort=-year&per_page=20"


class Refused(Exception):
    """The service did not answer as it should.

    Attributes:
        code: The code of the problem that it answered with instead, if it did.
        taken: The milliseconds until it was read.
    """

    def __init__(self, message: str, code: str | None, taken: float) -> None:
        super().__init__(message)
        self.code, self.taken = code, taken


@dataclass
class Asked:
    """A library that is asked, through a connection that stays.

    Attributes:
        library: What is in it.
        connection: A connection to its service.
        deadline: The milliseconds after which the service gives a statement up.
        start: Cursors at the start of the walk by title.
        end: Cursors at its end.
        words: What each kind of search looks for.
        fresh_until: When the service may have closed the connection.
    """

    library: GrowingLibrary
    connection: http.client.HTTPConnection
    deadline: float
    start: list[str] = field(default_factory=list)
    end: list[str] = field(default_factory=list)
    words: dict[str, Sequence[str]] = field(default_factory=dict)
    fresh_until: float = 0

    def __post_init__(self) -> None:
        sample = self.library.sample
        self.words = {name: sample.finding(wanted, WORDS) for name, wanted in MATCHES.items()}

    def call(self, method: str, path: str, status: int, body: JSON | None = None) -> Any:
        """The answer, and the milliseconds until it is read. Raises Refused."""
        headers = {"X-API-Key": KEY}
        content = None
        if body is not None:
            patch = {"Content-Type": "application/merge-patch+json"}
            headers |= patch if method == "PATCH" else {"Content-Type": "application/json"}
            content = json.dumps(body).encode()
        if time.perf_counter() > self.fresh_until:
            self.connection.close()
            self.connection.connect()
        began = time.perf_counter()
        self.connection.request(method, path, content, headers)
        response = self.connection.getresponse()
        text = response.read()
        answered = time.perf_counter()
        taken, self.fresh_until = (answered - began) * 1000, answered + _IDLE
        if response.status != status:
            message = f"{method} {path}: {response.status} {text.decode()[:1000]}"
            raise Refused(message, _code(text), taken)
        return json.loads(text), taken

    def get(self, path: str) -> float:
        """The milliseconds of a read."""
        taken: float = self.call("GET", path, 200)[1]
        return taken

    def search(self, word: str) -> float:
        """The milliseconds of a search; those until it was given up, where it was."""
        try:
            return self.get(f"/api/books?q={word}")
        except Refused as refused:
            if refused.code != "database_busy" or refused.taken < self.deadline:
                raise
            given_up: float = GivenUp(refused.taken)
            return given_up

    def walk(self) -> tuple[int, list[float]]:
        """Go through all books by title; how many there were, and the milliseconds of each page."""
        count, times, cursors = 0, [], ["start"]
        while cursors[-1]:
            page, taken = self.call("GET", walked(cursors[-1], LONG_PAGE), 200)
            count += len(page["items"])
            times.append(taken)
            cursors.append(page["next_cursor"] or "")
        # The first page is for the planner to learn from; the last one may be short.
        inner = cursors[1:-2]
        self.start, self.end = inner[:ENDS], inner[-ENDS:]
        return count, times


def _code(text: bytes) -> str | None:
    try:
        code: str | None = json.loads(text)["code"]
    except (ValueError, LookupError, TypeError):
        return None
    return code


def walked(cursor: str, per_page: int) -> str:
    """The path of a page of the walk."""
    return f"/api/books?sort=title&per_page={per_page}&cursor={cursor}"


def reads(asked: Asked, turn: int) -> Iterator[Times]:
    """Each read once; the turn says which rows."""
    sample = asked.library.sample

    def of(rows: Sequence[Any]) -> Any:
        return rows[turn % len(rows)]

    yield {"book": asked.get(f"/api/books/{of(sample.books)}")}
    yield {"isbn": asked.get(f"/api/books/isbn:{of(sample.isbns)}")}
    yield {"barcode": asked.get(f"/api/copies/barcode:{of(sample.barcodes)}")}
    yield {"page": asked.get(AUTHORS_PAGE.format(of(sample.authors)))}
    yield {"walk_start": asked.get(walked(of(asked.start), PAGE))}
    yield {"walk_end": asked.get(walked(of(asked.end), PAGE))}
    for name, words in asked.words.items():
        yield {name: asked.search(of(words))}
    yield {"loans": asked.get(f"/api/users/{of(sample.people)}/loans")}


def deeds(asked: Asked, turn: int) -> Iterator[Times]:
    """What changes something, and most of it back again."""
    sample = asked.library.sample
    user, copy = str(asked.library.person(turn)), f"barcode:{sample.free[turn % len(sample.free)]}"
    yield from _loan(asked, {"user": user, "copy": copy})
    yield from _hold(asked, *sample.lent[turn % len(sample.lent)])
    yield from _edition(asked, turn)


def _loan(asked: Asked, loan: JSON) -> Iterator[Times]:
    question = {"action": "check_out", **loan}
    yield {"decision": asked.call("POST", "/api/decisions", 200, question)[1]}
    yield {"check_out": asked.call("POST", "/api/loans", 201, loan)[1]}
    yield {"return": asked.call("POST", "/api/returns", 200, {"copy": loan["copy"]})[1]}


def _hold(asked: Asked, book: UUID, user: UUID) -> Iterator[Times]:
    place = {"user": str(user), "book": str(book), "pickup_branch": "code:b1"}
    held, taken = asked.call("POST", "/api/holds", 201, place)
    yield {"hold": taken}
    path = f"/api/holds/{held['hold']['id']}/cancellations"
    yield {"cancellation": asked.call("POST", path, 200, {})[1]}


def _edition(asked: Asked, turn: int) -> Iterator[Times]:
    title = f"A new book with the number {turn}"
    book = {"title": title, "authors": [{"name": f"Author {turn % 50}"}], "year": 2026}
    created, taken = asked.call("POST", "/api/books", 201, book)
    yield {"create": taken}
    path = f"/api/books/{created['id']}"
    yield {"edit": asked.call("PATCH", path, 200, {"title": f"{title}, again"})[1]}


IN_TURN: tuple[Callable[[Asked, int], Iterator[Times]], ...] = (reads, deeds)
