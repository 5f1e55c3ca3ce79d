"""The ids and the time of everything in the demo, which the examples in the contract rely on."""

from datetime import UTC, datetime
from enum import IntEnum
from uuid import UUID

MOMENT = datetime(2026, 1, 5, 8, tzinfo=UTC)


class Kind(IntEnum):
    """The kinds of things that the demo has, by the number that their ids have."""

    POST = 1
    BRANCH = 2
    AUTHOR = 3
    SUBJECT = 4
    BOOK = 5
    COPY = 6
    IMPORT = 7
    IMPORT_ISSUE = 8
    USER = 9
    API_KEY = 10
    CLIENT = 11
    AUDIT_ENTRY = 12
    CONSENT = 14
    LOAN_POLICY = 16
    EVENT = 17
    LOAN = 18
    HOLD = 19
    FEE = 20
    LEDGER_ENTRY = 21
    BLOCK = 22
    NOTICE = 23


def demo_id(kind: Kind, number: int) -> UUID:
    """The id of one thing of a kind, counted from 1: a UUIDv7 (RFC 9562) of `MOMENT`."""
    milliseconds = f"{int(MOMENT.timestamp() * 1000):012x}"
    return UUID(f"{milliseconds}7{kind:03x}8000{number:012}")
