from uuid import UUID

import pytest

from circdesk.circulation.models import Notice
from circdesk.circulation.notices.causes import CAUSES
from circdesk.circulation.notices.letters import write_letter

DATA = {
    "title": "Solaris",
    "branch_name": "Central",
    "time_zone": "Europe/Berlin",
    "due_at": "2026-07-01T16:00:00Z",
    "expires_at": "2026-07-02T16:00:00Z",
    "amount": {"amount": "2.50", "currency": "EUR"},
}


def letter(kind: str, name: str | None = "Ada", **data: str | None) -> tuple[str, str]:
    notice = Notice(id=UUID(int=1), kind=kind, data={**DATA, **data})
    message = write_letter(notice, name, "desk@library.example", "ada@example.org")
    return message["Subject"], message.get_content()


@pytest.mark.parametrize("kind", [cause.kind for cause in CAUSES])
def test_every_kind_has_a_letter(kind: str) -> None:
    subject, body = letter(kind)
    assert "{" not in subject + body
    assert body.startswith("Dear Ada,\n\n")


def test_times_are_those_of_the_branch() -> None:
    subject, body = letter("overdue")
    assert subject == "Overdue: Solaris"
    assert body == (
        "Dear Ada,\n\n“Solaris” was due on 2026-07-01, 18:00. Please bring it back.\n\n"
        "Your library\n"
    )


def test_what_is_not_known_is_left_out() -> None:
    subject, body = letter("overdue", None, title=None, time_zone=None)
    assert subject == "Overdue: a book of ours"
    assert body.startswith("“a book of ours” was due on 2026-07-01, 16:00.")


def test_a_title_cannot_break_the_heading() -> None:
    subject, _ = letter("overdue", title="A\r\nBcc: eve@example.org")
    assert subject == "Overdue: A Bcc: eve@example.org"
