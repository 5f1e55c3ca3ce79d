"""Log lines: their form, what is never in them, and where they go."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import httpx
import pytest
import structlog

from circdesk.auth.secrets import new_secret
from circdesk.edge.log_files import RotatingFile, SteadyStream
from circdesk.edge.logs import configure_logs, log_request
from circdesk.edge.redaction import HIDDEN, redact, redact_text
from circdesk.edge.request_ids import add_ids
from circdesk.settings import Settings, SettingsError
from tests.access_lines import access_lines, logs_of_requests
from tests.people import PEOPLE

ENTRY = {
    "request_id": "5f1c9be7a1d04b6c9d2f8a3e4b7c6d50",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "method": "GET",
    "route": "/api/books/{book_id}",
    "operation": "get_book",
    "status": 200,
    "milliseconds": 1.2,
    "bytes": 900,
    "caller": "user",
    "caller_id": "019b8d2b-8c00-7001-8000-0000000000ff",
    "credential": None,
    "client": "192.0.2.1",
}
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


class TestAccessLine:
    def only_line(self, logs: list[Any]) -> dict[str, Any]:
        (line,) = access_lines(logs)
        return line

    def test_it_tells_everything_about_a_request(self, librarian: httpx.Client) -> None:
        with logs_of_requests(processors=[add_ids]) as logs:
            response = librarian.get("/api/users/card:20001", headers={"X-Request-Id": "abc"})
        line = self.only_line(logs)
        assert line.pop("milliseconds") > 0
        assert line == {
            "event": "request",
            "log_level": "info",
            "request_id": "abc",
            "method": "GET",
            "route": "/api/users/{user_id}",
            "operation": "get_user",
            "status": response.status_code,
            "bytes": len(response.content),
            "caller": "user",
            "caller_id": str(PEOPLE["librarian"]),
            "credential": "api_key",
            "client": "127.0.0.1",
        }

    @pytest.mark.parametrize(
        ("method", "path", "route", "operation"),
        [
            ("GET", "/docs", "/docs", "document"),
            ("GET", "/healthz", "/healthz", "get_liveness"),
            ("GET", "/api/nowhere/card:20001", None, None),
            ("POST", "/api/books/isbn:9780441478125", "/api/books/{book_id}", None),
            ("OPTIONS", "/api/books/isbn:9780441478125", "/api/books/{book_id}", None),
            ("GET", "/api/books?page=0", "/api/books", "list_books"),
            ("GET", "/api/me", "/api/me", "get_my_account"),
        ],
    )
    def test_there_is_one_whatever_answers(
        self, client: httpx.Client, method: str, path: str, route: str | None, operation: str | None
    ) -> None:
        with logs_of_requests() as logs:
            client.request(method, path)
        line = self.only_line(logs)
        assert (line["route"], line["operation"]) == (route, operation)
        assert "card:" not in repr(logs)
        assert "isbn:" not in repr(logs)

    def test_it_names_the_operation_also_where_tags_of_variants_are_read(
        self, client: httpx.Client
    ) -> None:
        with logs_of_requests() as logs:
            client.get("/api/books", headers={"If-None-Match": '"a-br"', "Accept-Encoding": "br"})
        assert self.only_line(logs)["operation"] == "list_books"

    def test_who_is_refused_is_named(self, member: httpx.Client) -> None:
        with logs_of_requests() as logs:
            assert member.get("/api/users").status_code == 403
        line = self.only_line(logs)
        assert (line["caller"], line["caller_id"]) == ("user", str(PEOPLE["member"]))

    def test_it_is_the_line_that_all_processors_would_write(
        self, log_file: Callable[[], list[Any]]
    ) -> None:
        # Of all that stands in it, callers choose the request id alone.
        entry = {**ENTRY, "request_id": JWT}
        log_request({**entry})
        structlog.get_logger("circdesk.access").info("request", **entry)

        line, by_all = log_file()
        assert line.pop("timestamp") <= by_all.pop("timestamp")
        assert line == by_all
        assert line["request_id"] == HIDDEN

    @pytest.mark.parametrize("level", ["warning", "error"])
    def test_there_is_none_where_only_trouble_is_logged(
        self,
        level: Literal["warning", "error"],
        settings: Settings,
        tmp_path: Path,
        configured: Callable[[Settings], None],
    ) -> None:
        path = tmp_path / "circdesk.log"
        update = {"log_format": "json", "log_level": level, "log_file": path}
        configured(settings.model_copy(update=update))
        log_request({**ENTRY})
        assert path.read_text() == ""

    def test_it_costs_few_calls(self, log_file: Callable[[], list[Any]]) -> None:
        log_request({**ENTRY})  # The first looks what others have done with the file.

        calls = self._calls(lambda: log_request({**ENTRY}))

        assert len(log_file()) == 2
        # Seconds would tell of the disk; by structlog it would be five times as many.
        assert 0 < calls <= 12

    def _calls(self, do: Callable[[], None]) -> int:
        """How many Python functions it calls."""
        calls = 0

        def count(_frame: FrameType, event: str, _argument: Any) -> None:
            nonlocal calls
            calls += event == "call"

        sys.setprofile(count)
        try:
            do()
        finally:
            sys.setprofile(None)
        return calls


class TestRedaction:
    @pytest.mark.parametrize(
        "name",
        [
            *("password", "new_password", "passphrase", "client_secret", "token", "access_token"),
            *("api_key", "X-API-Key", "key", "Authorization", "Cookie", "set_cookie", "email"),
            *("code_verifier", "csrf", "e-mail"),
        ],
    )
    def test_what_has_such_a_name_is_hidden_at_any_depth(self, name: str) -> None:
        entry = {name: "x", "body": {"items": [{name: ["x", {"y": 1}]}]}}
        assert redact(None, "info", entry) == {
            name: HIDDEN,
            "body": {"items": [{name: HIDDEN}]},
        }

    @pytest.mark.parametrize("name", ["request_id", "keys_made", "caller_id", "event", "status"])
    def test_other_names_stay(self, name: str) -> None:
        assert redact(None, "info", {name: "some value"}) == {name: "some value"}

    @pytest.mark.parametrize(
        ("text", "left"),
        [
            pytest.param(f"with {new_secret('cdk_')}", f"with {HIDDEN}", id="a key"),
            pytest.param(
                f"code={new_secret('cdc_')}&state=1", f"code={HIDDEN}&state=1", id="a code"
            ),
            (f"Authorization: Bearer {JWT}", f"Authorization: Bearer {HIDDEN}"),
            (f"it was {JWT}, yes", f"it was {HIDDEN}, yes"),
            ("Basic dXNlcjpwYXNzd29yZA==", f"Basic {HIDDEN}"),
            ("ask ada.lovelace+x@example.org", f"ask {HIDDEN}"),
            ("postgresql://circdesk:pass@db/x", f"postgresql://{HIDDEN}@db/x"),
            ("GET /api/users/card:20001/loans", f"GET /api/users/card:{HIDDEN}/loans"),
            ("no secret at all, 9780441478125", "no secret at all, 9780441478125"),
        ],
    )
    def test_what_has_such_a_form_is_hidden(self, text: str, left: str) -> None:
        assert redact_text(text) == left

    def test_lines_of_libraries_and_tracebacks_are_covered(
        self, log_file: Callable[[], list[dict[str, Any]]]
    ) -> None:
        # One that is made up: pytest itself captures what a library logs, and would tell it.
        secret = "cdk_a-key-that-nobody-has"

        def fail() -> None:
            raise ValueError(f"{secret} of ada@example.org")

        try:
            fail()
        except ValueError:
            logging.getLogger("a.library").exception("It failed for %s", "ada@example.org")
            structlog.get_logger("circdesk").exception("failed", password="x", text=f"<{secret}>")
        foreign, own = log_file()
        assert foreign["event"] == f"It failed for {HIDDEN}"
        assert (own["password"], own["text"]) == (HIDDEN, f"<{HIDDEN}>")
        for line in (foreign, own):
            assert line["exception"].endswith(f"ValueError: {HIDDEN} of {HIDDEN}")
            assert (line["level"], "timestamp" in line) == ("error", True)
            assert secret not in json.dumps(line)


class TestForms:
    def test_a_terminal_gets_colour_and_a_file_gets_none(
        self,
        settings: Settings,
        configured: Callable[[Settings], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        leader, follower = os.openpty()
        with os.fdopen(follower, "w") as terminal:
            monkeypatch.setattr("sys.stderr", terminal)
            configured(settings.model_copy(update={"log_format": "console"}))
            structlog.get_logger("circdesk").info("started", threads=4)
            shown = os.read(leader, 10_000).decode()
        os.close(leader)
        assert "\x1b[" in shown
        assert "started" in re.sub(r"\x1b\[[0-9;]*m", "", shown)

    def test_access_lines_stand_among_others_on_standard_error(
        self,
        settings: Settings,
        configured: Callable[[Settings], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        reading, writing = os.pipe()
        with os.fdopen(writing, "w", buffering=1) as pipe:
            monkeypatch.setattr("sys.stderr", pipe)
            configured(settings.model_copy(update={"log_format": "json"}))
            structlog.get_logger("circdesk").info("started")
            log_request({**ENTRY})
            structlog.get_logger("circdesk").info("stopped")
        with os.fdopen(reading) as lines:
            written = [json.loads(line) for line in lines]
        assert [line["event"] for line in written] == ["started", "request", "stopped"]
        assert written[1].items() >= ENTRY.items()

    def test_what_json_does_not_know_is_told_as_text(
        self, log_file: Callable[[], list[dict[str, Any]]]
    ) -> None:
        structlog.get_logger("circdesk").info("odd", path=Path("/x"), pairs=[(1, {2})])
        (line,) = log_file()
        assert (line["path"], line["pairs"]) == ("PosixPath('/x')", [[1, [2]]])

    def test_a_file_that_cannot_be_opened_stops_the_start(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        with pytest.raises(SettingsError, match=r"CIRCDESK_LOG_FILE: .* Is a directory"):
            configure_logs(settings.model_copy(update={"log_file": tmp_path}))


WRITE = """
import sys
from pathlib import Path
from circdesk.edge.log_files import RotatingFile
file = RotatingFile(Path(sys.argv[1]), most_bytes=20_000, kept=100)
for n in range(2000):
    file.write(f"{sys.argv[2]} {n:06} {'x' * 80}\\n")
"""


class TestRotatingFile:
    def test_it_is_set_aside_when_full_and_old_ones_go(self, tmp_path: Path) -> None:
        file = RotatingFile(tmp_path / "log", most_bytes=100, kept=2)
        for n in range(50):
            file.write(f"line {n:014}\n")
        file.close()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
        kept = "".join((tmp_path / name).read_text() for name in ("log.2", "log.1", "log"))
        numbers = [int(line.split()[1]) for line in kept.splitlines()]
        assert numbers == [*range(numbers[0], 50)]
        assert all(path.stat().st_size <= 120 for path in tmp_path.iterdir())

    def test_it_goes_on_within_a_second_when_somebody_else_has_moved_it(
        self, tmp_path: Path
    ) -> None:
        file = RotatingFile(tmp_path / "log", most_bytes=10_000, kept=2)
        file.write("one\n")
        (tmp_path / "log").rename(tmp_path / "elsewhere")
        time.sleep(1.1)
        file.write_line(b"two\n")
        file.close()
        assert (tmp_path / "log").read_text() == "two\n"

    def test_processes_that_share_it_lose_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        command = [sys.executable, "-c", WRITE, str(path)]
        writers = [subprocess.Popen([*command, name]) for name in ("a", "b", "c")]
        assert [writer.wait(60) for writer in writers] == [0, 0, 0]
        lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
        assert len(lines) == len(set(lines)) == 3 * 2000
        assert {len(line) for line in lines} == {len(f"a {0:06} {'x' * 80}")}

    def test_a_full_disk_is_told_once_and_breaks_nobody(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "log"
        path.symlink_to("/dev/full")
        file = RotatingFile(path, most_bytes=100, kept=1)
        for _ in range(3):
            file.write("a line\n")
        told = f"circdesk: cannot write {path}: No space left on device\n"
        assert capsys.readouterr().err == told
        # There is room again.
        path.unlink()
        file.write("a line\n")
        file.close()
        assert path.read_text() == "a line\n"

    def test_a_request_is_answered_although_its_line_cannot_be_written(
        self,
        settings: Settings,
        tmp_path: Path,
        configured: Callable[[Settings], None],
        client: httpx.Client,
    ) -> None:
        (tmp_path / "log").symlink_to("/dev/full")
        configured(settings.model_copy(update={"log_file": tmp_path / "log"}))
        assert client.get("/api/posts").status_code == 200


class TestSteadyStream:
    def test_lines_and_texts_come_in_their_order(self) -> None:
        reading, writing = os.pipe()
        stream = SteadyStream(os.fdopen(writing, "w", buffering=1))
        stream.write("one\n")
        stream.write_line(b"two\n")
        stream.write("three\n")
        assert os.read(reading, 100) == b"one\ntwo\nthree\n"
        os.close(reading)
        stream._stream.close()

    def test_a_reader_that_has_gone_breaks_nobody(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        stream = SteadyStream(os.fdopen(writing, "w", buffering=1))
        stream.write("a line\n")
        stream.flush()
        with pytest.raises(OSError, match="Broken pipe"):
            stream._stream.close()
        stream.write("another\n")
        stream.write_line(b"a third\n")
        stream.flush()
