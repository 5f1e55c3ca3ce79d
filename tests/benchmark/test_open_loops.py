"""How the benchmark asks at half of the top rate; the run itself is `make bench`."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.benchmark.contestants import ALL
from tests.benchmark.loads import Reads
from tests.benchmark.open_loops import ASKED, at_half, half_of


@contextmanager
def answering() -> Iterator[tuple[str, list[str]]]:
    """A service that has all books but one, and the paths that it was asked for."""
    paths: list[str] = []

    class Books(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(404 if self.path == "/missing" else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """It is not of interest."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Books) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


def test_half_of_a_rate_of_loans_is_as_many_requests_because_each_has_its_return() -> None:
    assert [half_of(operation, 100.0) for operation in ("book", "desk")] == [50.0, 100.0]


def test_who_is_asked_takes_part_and_skips_none_of_it() -> None:
    skips = {each.name: each.skips for each in ALL}
    assert all(skips[name].isdisjoint(operations) for name, operations in ASKED.items())


def test_no_more_is_asked_than_half_of_the_top_rate_and_what_is_wrong_is_counted() -> None:
    with answering() as (address, paths):
        reads = Reads([("/there", {}), ("/missing", {})])
        load = at_half(address, "book", reads, 200.0, 0.5)
    assert 0 < load["rate"] <= 100
    assert len(paths) == load["rate"] * 0.5
    assert load["wrong"] == paths.count("/missing") > 0
    assert 0 < load["p50"] <= load["p99"]
