"""Metrics: what they count, who may read them, and that processes are added up."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from circdesk.edge import metrics, metrics_page
from circdesk.edge.metrics import Meters, count_cache, count_limited, count_read
from circdesk.settings import Settings
from tests.auth.serving import serving

ROOT = Path(__file__).parents[2]
TOKEN = "a token that reads the metrics"

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Values:
    """Each sample of the page, as Prometheus reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(values: Values, name: str, **labels: str) -> float:
    return values.get((name, frozenset(labels.items())), 0.0)


@pytest.fixture
def scrape(client: httpx.Client) -> Callable[[], Values]:
    """Reads the page as it is now."""

    def scrape() -> Values:
        response = client.get("/metrics")
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return read(response.text)

    return scrape


class TestNumbers:
    def test_requests_are_counted_by_operation_and_status(
        self, client: httpx.Client, scrape: Callable[[], Values]
    ) -> None:
        before = scrape()
        for path in ("/api/posts", "/api/posts", "/api/posts?page=0", "/api/nowhere/card:20001"):
            client.get(path)
        after = scrape()

        def more(name: str, operation: str, status: str) -> float:
            labels = {"operation": operation, "status": status}
            return value(after, name, **labels) - value(before, name, **labels)

        for name in (
            "circdesk_http_requests_total",
            "circdesk_http_request_duration_seconds_count",
        ):
            assert more(name, "list_posts", "200") == 2
            assert more(name, "list_posts", "400") == 1
            assert more(name, "none", "404") == 1
        assert more("circdesk_http_request_duration_seconds_sum", "list_posts", "200") > 0
        # The one that asks is under way.
        assert value(after, "circdesk_http_requests_in_flight") == 1

    def test_no_caller_can_make_a_series(
        self, client: httpx.Client, scrape: Callable[[], Values]
    ) -> None:
        before = {name for name, _ in scrape()}
        for number in range(20):
            client.get(f"/api/{number}")
            client.get(f"/api/books/isbn:{number}?x{number}=1")
        text = client.get("/metrics").text
        assert "isbn" not in text
        assert {name for name, _ in read(text)} == before

    def test_connections_are_those_that_are_in_use(
        self, scrape: Callable[[], Values], client: httpx.Client, settings: Settings
    ) -> None:
        for _ in range(3):
            client.get("/api/posts")
        values = scrape()
        assert value(values, "circdesk_database_connections_in_use") == 0
        assert value(values, "circdesk_database_connections_allowed") >= settings.threads

    def test_the_cache_the_limiter_and_the_replica_have_hooks(
        self, scrape: Callable[[], Values]
    ) -> None:
        before = scrape()
        count_cache("hit")
        count_cache("miss")
        count_limited("anonymous")
        count_read("primary")
        after = scrape()
        for name, labels in (
            ("circdesk_cache_requests_total", {"result": "hit"}),
            ("circdesk_cache_requests_total", {"result": "miss"}),
            ("circdesk_rate_limited_total", {"policy": "anonymous"}),
            ("circdesk_reads_total", {"place": "primary"}),
        ):
            assert value(after, name, **labels) - value(before, name, **labels) == 1

    def test_the_library_is_counted_too(
        self, scrape: Callable[[], Values], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(metrics_page, "_FRESH_SECONDS", 0)
        values = scrape()
        assert ("circdesk_loans", frozenset({("state", "open")})) in values
        assert ("circdesk_loans", frozenset({("state", "overdue")})) in values
        assert value(values, "circdesk_imports", state="queued") == 0
        assert value(values, "circdesk_worker_queue_length", queue="imports") == 0

    def test_without_the_database_there_are_all_others(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken.db"
        broken.write_bytes(b"no database" * 1000)
        gone = settings.model_copy(update={"database_url": SecretStr(f"sqlite:///{broken}")})
        with serving(gone) as url:
            values = read(httpx.get(f"{url}/metrics").text)
        assert "circdesk_http_requests_in_flight" in {name for name, _ in values}
        assert "circdesk_loans" not in {name for name, _ in values}


class TestReaders:
    @pytest.mark.usefixtures("engine")
    def test_in_production_nobody_reads_them_without_a_token(self, settings: Settings) -> None:
        with serving(settings, env="production") as url:
            response = httpx.get(f"{url}/metrics")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    @pytest.mark.usefixtures("engine")
    def test_who_has_the_token_reads_them_and_nobody_else(self, settings: Settings) -> None:
        with serving(settings, env="production", metrics_token=SecretStr(TOKEN)) as url:
            answers = [
                httpx.get(f"{url}/metrics", headers={"Authorization": sent} if sent else {})
                for sent in ("", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer {TOKEN}")
            ]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 200]
        codes = [answer.json()["code"] for answer in answers[:3]]
        assert codes == ["credentials_required", "credentials_invalid", "credentials_invalid"]
        assert all(answer.headers["WWW-Authenticate"] for answer in answers[:3])
        assert answers[3].headers["Cache-Control"] == "no-store"

    def test_only_get_and_head_are_taken(self, client: httpx.Client) -> None:
        assert client.post("/metrics").status_code == 405
        assert client.head("/metrics").content == b""
        assert client.options("/metrics").headers["Allow"] == "GET, HEAD, OPTIONS"


# A process that counts so many requests of which one goes on, and then waits to be ended.
COUNT = """
import sys
from pathlib import Path
from circdesk.edge.metrics import begin_request, count_cache, count_together, end_request
count_together(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    begin_request()
    end_request("get_book", 200, 0.02)
count_cache("hit")
begin_request()
print("counted", flush=True)
sys.stdin.read()
"""

# One whose files have less room than its series take, and that counts the first of them on.
OUTGROW = """
import sys
from pathlib import Path
from circdesk.edge import metrics_files
from circdesk.edge.metrics import begin_request, count_together, end_request
metrics_files._ROOM = dict.fromkeys(metrics_files._ROOM, 4096)
count_together(Path(sys.argv[1]))
for operation in ["get_book", *(f"operation_{n}" for n in range(50)), "get_book"]:
    begin_request()
    end_request(operation, 200, 0.02)
"""

READ = """
import sys
from pathlib import Path
from prometheus_client import generate_latest
from circdesk.edge.metrics_files import sums
with sums(Path(sys.argv[1])) as registry:
    print(generate_latest(registry).decode())
"""


class TestSeveralProcesses:
    @pytest.fixture
    def begin(self, tmp_path: Path) -> Iterator[Callable[[int], "subprocess.Popen[str]"]]:
        started = []

        def begin(requests: int) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [sys.executable, "-c", COUNT, str(tmp_path), str(requests)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "counted\n"
            return process

        yield begin
        for process in started:
            process.kill()
            process.communicate()

    def sums(self, directory: Path) -> tuple[float, float, float, float]:
        """Requests by the counter and by the histogram, those under way, and hits of the cache."""
        command = [sys.executable, "-c", READ, str(directory)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        labels, values = {"operation": "get_book", "status": "200"}, read(text)
        return (
            value(values, "circdesk_http_requests_total", **labels),
            value(values, "circdesk_http_request_duration_seconds_count", **labels),
            value(values, "circdesk_http_requests_in_flight"),
            value(values, "circdesk_cache_requests_total", result="hit"),
        )

    def test_they_are_added_up_and_what_has_ended_leaves_its_counters_alone(
        self, begin: Callable[[int], "subprocess.Popen[str]"], tmp_path: Path
    ) -> None:
        first, second = begin(10), begin(5)
        assert self.sums(tmp_path) == (15, 15, 2, 2)

        first.send_signal(signal.SIGKILL)
        first.wait()
        assert self.sums(tmp_path) == (15, 15, 1, 2)
        assert not [*tmp_path.glob(f"*_{first.pid}.db")]

        begin(1)
        second.send_signal(signal.SIGTERM)
        second.wait()
        assert self.sums(tmp_path) == (16, 16, 1, 3)
        # However many come and go, there are the files of those that live, and of all others.
        assert len([*tmp_path.glob("*.db")]) == 3 + 2

    def test_a_file_that_is_outgrown_loses_nothing(self, tmp_path: Path) -> None:
        subprocess.run([sys.executable, "-c", OUTGROW, str(tmp_path)], check=True)
        assert {path.stat().st_size > 4096 for path in tmp_path.glob("histogram_*.db")} == {True}
        assert self.sums(tmp_path) == (2, 2, 0, 0)

    def test_without_room_a_process_counts_alone(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        before = metrics.meters()
        metrics.count_together(tmp_path / "file" / "metrics")
        assert metrics.meters() is before
        assert metrics.shared_directory() is None


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = (ROOT / "docs" / "grafana-dashboard.json").read_text()
    asked = set(re.findall(r"\bcircdesk_[a-z_]+", json.dumps(_expressions(json.loads(dashboard)))))
    known = {name for name, _, _ in metrics_page.FAMILIES.values()}
    for family in Meters().registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        known |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    assert asked <= known
    # And shows each of them, a histogram by one of its parts.
    assert {name for name in known if not name.endswith(("_sum", "_count"))} <= asked


def _expressions(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["expr"]] if "expr" in node else []
        return own + [found for member in node.values() for found in _expressions(member)]
    if isinstance(node, list):
        return [found for member in node for found in _expressions(member)]
    return []
