"""What an import counts and reports."""

from dataclasses import dataclass, fields
from typing import Literal

Kind = Literal["created", "updated", "unchanged", "refused"]
Severity = Literal["refused", "note"]


@dataclass(slots=True)
class Tally:
    """Counts of records, where `read` is the sum of the next four; then of copies and issues."""

    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    copies_created: int = 0
    issues_count: int = 0

    def count(self, kind: Kind) -> None:
        """Count one record."""
        self.read += 1
        setattr(self, kind, getattr(self, kind) + 1)

    def __add__(self, other: "Tally") -> "Tally":
        names = (field.name for field in fields(self))
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class Issue:
    """What was wrong with a record: `refused` whole, or taken with a `note`."""

    position: int
    control_number: str | None
    severity: Severity
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch amounted to."""

    tally: Tally
    issues: tuple[Issue, ...]

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.tally + other.tally, self.issues + other.issues)
