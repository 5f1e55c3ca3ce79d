import socket
import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email import message_from_string
from email.header import decode_header, make_header

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from circdesk.accounts.models import User
from circdesk.circulation.chores import run_chores
from circdesk.circulation.models import Fee, Notice
from circdesk.circulation.notices.mailing import MailServer, mail_notices
from circdesk.circulation.notices.making import NOTICES
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import Library
from tests.people import MEMBER_ID


class Post(socketserver.ThreadingTCPServer):
    """A mail server that speaks as much of SMTP (RFC 5321) as it takes to hand a mail over."""

    daemon_threads = True

    def __init__(self) -> None:
        self.letters: list[str] = []
        self.recipients: list[str] = []
        self.refuses = False
        super().__init__(("127.0.0.1", 0), Conversation)

    @property
    def server(self) -> MailServer:
        url = SecretStr(f"smtp://127.0.0.1:{self.server_address[1]}")
        return MailServer(url, "desk@library.example")


class Conversation(socketserver.StreamRequestHandler):
    server: Post

    def handle(self) -> None:
        self.say("220 ready")
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            match verb.upper():
                case "RCPT" if self.server.refuses:
                    self.say("451 later")
                case "RCPT":
                    self.server.recipients.append(rest)
                    self.say("250 ok")
                case "DATA":
                    self.say("354 go on")
                    self.server.letters.append(self.read_letter())
                    self.say("250 ok")
                case "QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 ok")

    def say(self, reply: str) -> None:
        self.wfile.write(f"{reply}\r\n".encode())

    def read_letter(self) -> str:
        return "".join(iter(lambda: self.rfile.readline().decode(), ".\r\n"))


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def told(library: Library, sessions: Sessions) -> None:
    """A notice of a fee, made and not mailed yet."""
    amount = Decimal("2.50")
    library.store(Fee(user_id=MEMBER_ID, kind="manual", amount=amount, outstanding=amount))
    run_chores(sessions, NOTICES)


def notice(sessions: Sessions) -> Notice:
    with unit_of_work(sessions, writing=False) as session:
        found = session.scalars(select(Notice)).one()
        session.expunge(found)
        return found


def make_due(sessions: Sessions) -> None:
    with unit_of_work(sessions, writing=True) as session:
        session.execute(update(Notice).values(next_attempt_at=datetime.now(UTC)))


@pytest.mark.usefixtures("told")
class TestMailNotices:
    def test_a_notice_is_mailed_once(self, sessions: Sessions, post: Post) -> None:
        assert mail_notices(sessions, post.server) == 1
        assert mail_notices(sessions, post.server) == 0

        (letter,) = map(message_from_string, post.letters)
        assert str(make_header(decode_header(letter["Subject"]))) == "A fee of 2.50 EUR"
        assert letter["From"] == "desk@library.example"
        assert letter["Message-ID"] == f"<{notice(sessions).id}@circdesk>"
        assert str(letter.get_payload()).replace("\r\n", "\n") == (
            "Dear The member,\n\nYou owe the library 2.50 EUR.\n\nYour library\n"
        )
        assert len(post.recipients) == 1
        assert "member@example.org" in post.recipients[0]
        assert notice(sessions).sent_at is not None

    def test_one_that_fails_is_tried_again_later_and_not_for_ever(
        self, sessions: Sessions, post: Post
    ) -> None:
        post.refuses = True
        for attempt in range(1, 5):
            make_due(sessions)
            assert mail_notices(sessions, post.server) == 0
            assert notice(sessions).attempts == attempt
        assert notice(sessions).next_attempt_at is None

    def test_once_the_server_takes_it_it_is_sent(self, sessions: Sessions, post: Post) -> None:
        post.refuses = True
        assert mail_notices(sessions, post.server) == 0
        post.refuses = False
        assert mail_notices(sessions, post.server) == 0
        make_due(sessions)
        assert mail_notices(sessions, post.server) == 1

    def test_a_server_that_is_away_costs_an_attempt(self, sessions: Sessions) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        away = MailServer(SecretStr(f"smtp://127.0.0.1:{port}"), "desk@library.example")

        assert mail_notices(sessions, away) == 0

        assert (notice(sessions).attempts, notice(sessions).sent_at) == (1, None)

    def test_what_is_old_is_no_news(self, sessions: Sessions, post: Post) -> None:
        with unit_of_work(sessions, writing=True) as session:
            old = datetime.now(UTC) - timedelta(days=2)
            session.execute(update(Notice).values(next_attempt_at=old))
        assert mail_notices(sessions, post.server) == 0
        assert post.letters == []

    def test_nobody_is_mailed_who_has_no_address_any_more(
        self, sessions: Sessions, post: Post
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.execute(update(User).where(User.id == MEMBER_ID).values(email=None))
        assert mail_notices(sessions, post.server) == 0

    def test_it_stops_where_it_is_told_to(self, sessions: Sessions, post: Post) -> None:
        assert mail_notices(sessions, post.server, lambda: True) == 0
        assert notice(sessions).attempts == 0
