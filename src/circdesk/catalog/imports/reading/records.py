"""What every reader makes of a source file: records and refusals, in the order of the file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceCopy:
    """One item of a record: where it stands and how it is told apart."""

    branch: str
    barcode: str | None = None
    shelf_mark: str | None = None
    material_type: str | None = None
    loanable: bool = True


@dataclass(frozen=True, slots=True)
class SourceBook:
    """The bibliographic facts of a record, cleaned and ready to be stored.

    `variants` are titles and names as the item itself bears them where `title` and `authors` are
    romanised (MARC field 880): not shown instead of them, but found by a search.
    """

    title: str
    subtitle: str | None = None
    authors: tuple[str, ...] = ()
    isbns: tuple[str, ...] = ()
    publisher: str | None = None
    year: int | None = None
    language: str | None = None
    subjects: tuple[str, ...] = ()
    summary: str | None = None
    material_type: str = "book"
    edition: str | None = None
    copies: tuple[SourceCopy, ...] = ()
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A readable record: its place in the file (from 1), whose it is, and what it says.

    `content_hash` is the SHA-256 of the record's own bytes, in hexadecimal. `notes` are
    sentences about what was left out of a record that is otherwise good, such as an ISBN
    with a wrong check digit.
    """

    position: int
    agency: str | None
    control_number: str | None
    content_hash: str
    book: SourceBook
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that could not be taken, and why; `reason` is a stable lower-snake-case code."""

    position: int
    control_number: str | None
    reason: str
    message: str


class UnreadableRecordError(ValueError):
    """A reader gives a record up; it never leaves the readers, who make a `Refusal` of it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def refusal(self, position: int, control_number: str | None = None) -> Refusal:
        """Return what is reported about the record at this place."""
        return Refusal(position, control_number, self.reason, self.message)


class NotThisFormatError(ValueError):
    """The file is not what it says; the sentence tells what it is, and nothing was read."""
