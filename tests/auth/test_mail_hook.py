"""The mail hook, against a real server."""

import threading
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from circdesk.auth.mail_hook import MailHook
from tests.auth.post import Post, serving_post

LETTER = {
    "event": "password_reset",
    "email": "member@example.org",
    "name": "The member",
    "token": "a-secret-token",
    "expires_at": "2026-01-05T09:00:00Z",
}


@pytest.fixture
def post(request: pytest.FixtureRequest) -> Iterator[Post]:
    with serving_post(*getattr(request, "param", ())) as post:
        yield post


class TestMailHook:
    def test_a_letter_is_posted_as_json(self, post: Post) -> None:
        hook = MailHook(post.url)
        hook.send(lambda: LETTER)
        hook.close()

        assert post.letters == [("/letters", "application/json", LETTER)]

    def test_nothing_is_posted_where_no_letter_is_written(self, post: Post) -> None:
        hook = MailHook(post.url)
        hook.send(lambda: None)
        hook.close()

        assert post.letters == []

    def test_without_an_address_no_letter_is_even_written(self) -> None:
        written = []
        hook = MailHook(None)
        hook.send(lambda: written.append(1))
        hook.close()

        assert written == []

    @pytest.mark.parametrize("post", [(500,)], indirect=True)
    def test_a_failure_is_tried_once_more(self, post: Post) -> None:
        hook = MailHook(post.url)
        hook.send(lambda: LETTER)
        hook.close()

        assert len(post.letters) == 2

    @pytest.mark.parametrize("post", [(500, 302, 500, 500)], indirect=True)
    def test_after_the_second_failure_it_is_lost_and_logged_without_the_token(
        self, post: Post
    ) -> None:
        with capture_logs() as logs:
            hook = MailHook(post.url)
            hook.send(lambda: LETTER)
            hook.close()

        assert len(post.letters) == 2
        assert [(line["event"], line["log_level"]) for line in logs] == [
            ("letter", "info"),
            ("letter", "info"),
            ("letter_lost", "error"),
        ]
        assert "token" not in str(logs)
        assert "member@" not in str(logs)

    def test_nobody_listening_is_logged(self, post: Post) -> None:
        url = post.url
        post.shutdown()
        post.server_close()
        with capture_logs() as logs:
            hook = MailHook(url)
            hook.send(lambda: LETTER)
            hook.close()

        assert logs[-1] == {"event": "letter_lost", "log_level": "error", "reason": "ConnectError"}

    @pytest.mark.parametrize("post", [(None, None)], indirect=True)
    def test_a_server_that_says_nothing_is_given_up_after_five_seconds(self, post: Post) -> None:
        hook = MailHook(post.url)
        started = time.monotonic()
        hook.send(lambda: LETTER)
        assert time.monotonic() - started < 0.5
        hook.close()

        assert 9 < time.monotonic() - started < 15
        assert len(post.letters) == 2

    def test_a_letter_that_cannot_be_written_is_logged_without_its_words(self) -> None:
        def fail() -> None:
            raise LookupError("member@example.org")

        with capture_logs() as logs:
            hook = MailHook("http://127.0.0.1:9")
            hook.send(fail)
            hook.close()

        assert logs == [{"event": "letter_lost", "log_level": "error", "reason": "LookupError"}]

    def test_when_too_many_wait_the_next_is_lost_and_nobody_waits(self, post: Post) -> None:
        leave = threading.Event()

        def write() -> None:
            leave.wait(10)

        hook = MailHook(post.url)
        with capture_logs() as logs:
            for _ in range(103):
                hook.send(write)
        leave.set()
        hook.close()

        assert [line["event"] for line in logs] == ["letter_lost"]
