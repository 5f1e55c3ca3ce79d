"""Cursors: the place in a list after which the next page begins, signed for this list alone."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    UnaryExpression,
    and_,
    bindparam,
    or_,
    tuple_,
)
from sqlalchemy.sql import operators

from circdesk.contract.problems import Problem, fault

_MAC_BYTES = 16


class CursorInvalid(Problem):
    """The cursor was not made by this list, for this sort and these filters."""

    code: ClassVar[str] = "cursor_invalid"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "The cursor does not fit this request."
    advice: ClassVar[str] = (
        "Send a cursor exactly as next_cursor gave it, to the same operation with the same sort "
        "and the same filters, and without page. Or begin again without a cursor."
    )


def invalid_cursor(reason: str, suggestions: Sequence[dict[str, Any]] = ()) -> CursorInvalid:
    """The problem of a cursor that cannot be used, why, and what to call instead."""
    details = [fault("query", "/cursor", "cursor", reason)]
    return CursorInvalid(reason, details=details, suggestions=suggestions)


@dataclass(frozen=True, slots=True)
class CursorSigner:
    """Makes and reads the cursors of one list.

    Args:
        key: The secret under which cursors are signed.
        scope: What the list is: everything that must be the same for a cursor to be valid.
    """

    key: bytes
    scope: str

    def write(self, values: Sequence[Any]) -> str:
        """The cursor after the row with these sort keys."""
        # Without escapes the longest sort key stays within the contract's bound for cursors.
        text = json.dumps(list(values), default=_tagged, separators=(",", ":"), ensure_ascii=False)
        payload = text.encode()
        return base64.urlsafe_b64encode(self._mac(payload) + payload).rstrip(b"=").decode()

    def read(self, cursor: str) -> list[Any]:
        """The values that the cursor was made of. Raises CursorInvalid."""
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            signed = base64.b64decode(padded, altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise invalid_cursor("The cursor is damaged.") from None
        mac, payload = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise invalid_cursor(
                "The cursor is damaged, or was given for another list, sort or filter."
            )
        values: list[Any] = json.loads(payload, object_hook=_untagged)
        return values

    def _mac(self, payload: bytes) -> bytes:
        # A line break cannot stand in canonical JSON, so scope and payload never run together.
        message = b"circdesk cursor\n" + self.scope.encode() + b"\n" + payload
        return hmac.digest(self.key, message, hashlib.sha256)[:_MAC_BYTES]


def canonical(values: Mapping[str, Any]) -> str:
    """The same JSON for the same values, whatever their order; what is None is left out."""
    given = {name: value for name, value in values.items() if value is not None}
    return json.dumps(given, default=_as_text, sort_keys=True, separators=(",", ":"))


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _tagged(value: object) -> dict[str, str]:
    match value:
        case datetime():
            return {"time": value.isoformat()}
        case UUID():
            return {"uuid": value.hex}
    raise TypeError(f"lists cannot be sorted by {type(value)}")


def _untagged(tagged: dict[str, str]) -> datetime | UUID:
    if "time" in tagged:
        return datetime.fromisoformat(tagged["time"])
    return UUID(tagged["uuid"])


@dataclass(frozen=True, slots=True)
class Key:
    """One column that a list is sorted by, and its direction."""

    column: SQLColumnExpression[Any]
    descending: bool

    @classmethod
    def of(cls, column: SQLColumnExpression[Any], *, reverse: bool) -> "Key":
        """Read `column` or `column.desc()`, and turn it round for a sort such as `-title`."""
        descending = False
        if isinstance(column, UnaryExpression) and column.modifier is operators.desc_op:
            column, descending = column.element, True
        return cls(column, descending != reverse)

    @property
    def order(self) -> UnaryExpression[Any]:
        """The term for ORDER BY."""
        return self.column.desc() if self.descending else self.column.asc()

    def parameter(self, name: str) -> ColumnElement[Any]:
        """A parameter whose value is sent as the column's own type would send it."""
        # Every column has a type; only the declared base of columns and attributes lacks it.
        return bindparam(name, type_=self.column.type)  # type: ignore[attr-defined]


def beyond(keys: Sequence[Key], names: Sequence[str]) -> ColumnElement[bool]:
    """The condition for rows that come after the row whose values have these parameters.

    Keys of one direction are compared as one row value, `(title, id) > (?, ?)`, which both
    engines answer from an index on these columns. Where the direction changes, the keys before
    the change bound the search and the others decide among equals.
    """
    turn = next(
        (n for n, key in enumerate(keys) if key.descending != keys[0].descending), len(keys)
    )
    row = tuple_(*(key.column for key in keys[:turn]))
    place = tuple_(*(key.parameter(name) for key, name in zip(keys[:turn], names, strict=False)))
    ahead = row < place if keys[0].descending else row > place
    if turn == len(keys):
        return ahead
    level_or_ahead = row <= place if keys[0].descending else row >= place
    return and_(level_or_ahead, or_(ahead, beyond(keys[turn:], names[turn:])))
