"""A repeated request is answered by the server itself, and nobody can tell the difference."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from circdesk.app import create_app
from circdesk.contract.application import ContractApp
from circdesk.edge.again import Again, Repeat
from circdesk.edge.metrics import meters
from circdesk.settings import Settings
from tests.access_lines import access_lines, logs_of_requests
from tests.edge.running import Running

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# What an answer says of its own request, or of the second.
ITS_OWN = ("age", "date", "ratelimit", "x-request-id")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Served(NamedTuple):
    """A caller of a service, and the requests that its application was asked for."""

    client: httpx.Client
    asked: list[Scope]


Serve = Callable[..., Served]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Serves as `circdesk serve` does, with these changes of the settings."""
    with ExitStack() as stack:

        def serve(**changes: Any) -> Served:
            app = create_app(settings.model_copy(update=changes))
            asked: list[Scope] = []
            again = app.app.extensions["circdesk.again"]
            running = Running(_listening(app, asked), again=again, lifespan=True)
            host, port = stack.enter_context(running).address
            client = httpx.Client(base_url=f"http://{host}:{port}", timeout=60)
            return Served(stack.enter_context(client), asked)

        yield serve


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()


def _listening(app: ContractApp, asked: list[Scope]) -> Any:
    async def listen(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked.append(scope)
        await app(scope, receive, send)

    return listen


def get_thrice(served: Served, path: str, **headers: str) -> list[httpx.Response]:
    """Answers of the application: made, found in memory; and one that is told again."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answers = [served.client.get(path, headers=sent) for _ in range(3)]
    assert len(served.asked) == 2
    return answers


def remaining(response: httpx.Response) -> int:
    return int(response.headers["ratelimit"].partition("r=")[2].partition(";")[0])


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"accept_encoding": "br"},
        {"accept": "application/json"},
        {"x_request_id": "mine"},
        {"traceparent": TRACEPARENT, "tracestate": "a=b"},
    ],
    ids=lambda sent: next(iter(sent), "nothing"),
)
def test_it_is_the_same_answer_and_counts(
    served: Served, kept_path: str, sent: dict[str, str]
) -> None:
    with logs_of_requests(3) as logs:
        made, found, again = get_thrice(served, kept_path, **sent)

    assert (again.status_code, again.content) == (200, made.content)
    own = {name: again.headers[name] for name in ITS_OWN}
    assert dict(again.headers) == dict(found.headers) | own
    assert remaining(again) == remaining(found) - 1
    _, of_found, of_again = access_lines(logs)
    assert of_again["request_id"] == again.headers["x-request-id"]
    assert of_again.pop("milliseconds") >= 0
    other = {"request_id": of_again["request_id"], "milliseconds": of_found["milliseconds"]}
    assert of_again | other == of_found | other
    assert of_again.get("trace_id") == (TRACE if "traceparent" in sent else None)


def test_what_is_not_modified_is_told_for_free(served: Served, kept_path: str) -> None:
    tag = served.client.get(kept_path).headers["etag"]

    with logs_of_requests(2) as logs:
        found, again = (
            served.client.get(kept_path, headers={"If-None-Match": tag}) for _ in range(2)
        )

    assert len(served.asked) == 2
    assert (found.status_code, again.status_code, again.content) == (304, 304, b"")
    assert again.headers.keys() == found.headers.keys()
    assert "content-length" not in again.headers
    assert remaining(again) == remaining(found)
    assert [(line["status"], line["bytes"]) for line in access_lines(logs)] == [(304, 0)] * 2


def test_each_has_an_id_of_its_own(served: Served, kept_path: str) -> None:
    get_thrice(served, kept_path)
    answers = [
        served.client.get(kept_path, headers={"X-Request-Id": sent} if sent else {})
        for sent in ("", "", "mine", "not well-formed")
    ]

    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(served.asked) == 2
    assert ids[2] == "mine"
    assert len({*ids}) == 4
    assert [len(id_) for id_ in ids] == [32, 32, 4, 32]


def test_it_is_measured(served: Served, kept_path: str) -> None:
    get_thrice(served, kept_path)
    before = _measured()
    with logs_of_requests():
        served.client.get(kept_path)

    more = {name: value - before[name] for name, value in _measured().items()}
    seconds = more.pop("seconds")
    assert more == {"requests": 1, "hits": 1, "in_flight": 0, "durations": 1}
    assert 0 < seconds < 1


def _measured() -> dict[str, float]:
    def value(name: str, **labels: str) -> float:
        return meters().registry.get_sample_value(name, labels) or 0.0

    answered = {"operation": "get_book", "status": "200"}
    duration = "circdesk_http_request_duration_seconds"
    return {
        "requests": value("circdesk_http_requests_total", **answered),
        "hits": value("circdesk_cache_requests_total", result="hit"),
        "in_flight": value("circdesk_http_requests_in_flight"),
        "durations": value(f"{duration}_bucket", **answered, le="+Inf"),
        "seconds": value(f"{duration}_sum", **answered),
    }


def test_what_the_server_has_not_found_is_not_looked_for_again(
    served: Served, kept_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, looked = Again.find, []

    def watched(again: Again, scope: Scope) -> Repeat | None:
        looked.append(scope["path"])
        return find(again, scope)

    monkeypatch.setattr(Again, "find", watched)
    get_thrice(served, kept_path)
    assert looked == [kept_path] * 3


@pytest.mark.parametrize(
    ("method", "sent", "body", "status"),
    [
        ("HEAD", {}, b"", 200),
        ("GET", {"X-API-Key": "wrong"}, b"", 401),
        ("GET", {"Content-Length": "0"}, b"", 200),
        ("GET", {"Expect": "100-continue"}, b"", 200),
        ("GET", {}, b"x", 200),
        ("GET", {"User-Agent": "x" * 40_000}, b"", 431),
        ("GET", {f"X-{n}": "" for n in range(100)}, b"", 431),
        ("GET", {"Accept": "text/csv"}, b"", 406),
    ],
    ids=[
        *("HEAD", "credentials", "length", "expectation", "body", "much without effect"),
        *("many headers", "type"),
    ],
)
def test_other_requests_are_the_applications(
    served: Served, kept_path: str, method: str, sent: dict[str, str], body: bytes, status: int
) -> None:
    get_thrice(served, kept_path)
    served.asked.clear()

    answers = [
        # What comes piece by piece has no length.
        served.client.request(
            method, kept_path, headers=sent, content=iter([body]) if body else None
        )
        for _ in range(3)
    ]

    assert [answer.status_code for answer in answers] == [status] * 3
    assert len(served.asked) == 3


def test_who_has_no_place_left_is_refused_as_ever(serve: Serve, kept_path: str) -> None:
    served = serve(rate_limits="anonymous=4/hour")
    get_thrice(served, kept_path)

    last, refused, free = (
        served.client.get(kept_path),
        served.client.get(kept_path),
        served.client.get("/healthz"),
    )

    assert (last.status_code, remaining(last)) == (200, 0)
    assert (refused.status_code, free.status_code) == (429, 200)
    assert "retry-after" in refused.headers


def test_behind_a_proxy_each_caller_counts_alone(serve: Serve, kept_path: str) -> None:
    served = serve(rate_limits="anonymous=4/hour", proxy_hops=1)
    get_thrice(served, kept_path, x_forwarded_for="192.0.2.1")

    with logs_of_requests() as logs:
        other = served.client.get(kept_path, headers={"X-Forwarded-For": "6.6.6.6, 192.0.2.2"})

    assert (remaining(other), len(served.asked)) == (3, 2)
    assert [line["client"] for line in access_lines(logs)] == ["192.0.2.2"]


def test_a_page_of_another_origin_is_told_what_it_may_read(serve: Serve, kept_path: str) -> None:
    origin = "https://library.example"
    served = serve(cors_origins=origin)

    _, found, again = get_thrice(served, kept_path, origin=origin)
    other = served.client.get(kept_path, headers={"Origin": "https://evil.example"})

    assert again.headers["access-control-allow-origin"] == origin
    assert again.headers["vary"] == found.headers["vary"]
    assert "access-control-allow-origin" not in other.headers
    assert len(served.asked) == 3
