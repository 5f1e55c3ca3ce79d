"""Letters: a notice as people read it in a mail, in plain text."""

from datetime import datetime
from email.message import EmailMessage
from typing import Any
from zoneinfo import ZoneInfo

from circdesk.circulation.models import Notice

JSON = dict[str, Any]

_SUBJECTS = {
    "due_soon": "Due soon: {title}",
    "overdue": "Overdue: {title}",
    "recalled": "Please bring back: {title}",
    "hold_ready": "Ready for you: {title}",
    "hold_expiring": "Waiting for you until {expires_at}: {title}",
    "fee": "A fee of {amount}",
}
_BODIES = {
    "due_soon": "“{title}” is due on {due_at}. You may be able to renew it.",
    "overdue": "“{title}” was due on {due_at}. Please bring it back.",
    "recalled": "Somebody waits for “{title}”. Please bring it back by {due_at}.",
    "hold_ready": "“{title}” is on the hold shelf of {branch_name} until {expires_at}.",
    "hold_expiring": "“{title}” leaves the hold shelf of {branch_name} on {expires_at}.",
    "fee": "You owe the library {amount}.",
}


def write_letter(notice: Notice, name: str | None, sender: str, recipient: str) -> EmailMessage:
    """The mail that tells of a notice; times are those of the branch.

    Args:
        notice: What it tells of.
        name: The person's name.
        sender: The library's address.
        recipient: The person's address.
    """
    said = _said(notice.data)
    letter = EmailMessage()
    letter["From"] = sender
    letter["To"] = recipient
    # A heading is one line.
    letter["Subject"] = " ".join(_SUBJECTS[notice.kind].format(**said).split())[:200]
    # The same mail sent twice can be known as one.
    letter["Message-ID"] = f"<{notice.id}@circdesk>"
    greeting = f"Dear {name},\n\n" if name else ""
    letter.set_content(f"{greeting}{_BODIES[notice.kind].format(**said)}\n\nYour library\n")
    return letter


def _said(data: JSON) -> JSON:
    zone = ZoneInfo(data["time_zone"] or "UTC")
    amount = data["amount"]
    return {
        "title": data["title"] or "a book of ours",
        "branch_name": data["branch_name"] or "the library",
        "due_at": _local(data["due_at"], zone),
        "expires_at": _local(data["expires_at"], zone),
        "amount": "" if amount is None else f"{amount['amount']} {amount['currency']}",
    }


def _local(moment: str | None, zone: ZoneInfo) -> str:
    if moment is None:
        return ""
    return datetime.fromisoformat(moment).astimezone(zone).strftime("%Y-%m-%d, %H:%M")
