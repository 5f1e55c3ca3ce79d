"""Versions of rows: by them a caller sees that somebody else was faster, and the database too.

The edge says which versions the caller knows, business code asks whether a row, once it is locked,
is still one of them, and tells of a row that it shows which version that is. Where an answer shows
a row and nothing else, its version tells whether the caller has it before the row is read.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, select, text
from sqlalchemy.orm import Mapped, Session, declared_attr, mapped_column

from circdesk.contract.problems import Problem

# Under these keys a session keeps which versions the caller knows, what was shown, and whether the
# caller has something already.
_KNOWN = "circdesk_known_versions"
_SHOWN = "circdesk_shown_version"
_HAS = "circdesk_has"

_OTHER_VERSION = "It has another version by now."


class PreconditionFailed(Problem):
    """The caller knows another version than the one that is there."""

    code: ClassVar[str] = "precondition_failed"
    status: ClassVar[int] = 412
    title: ClassVar[str] = "Somebody has changed it since it was read."
    advice: ClassVar[str] = (
        "Read it again, see whether your change still makes sense, and send it with the new ETag."
    )


class ChangedMeanwhile(Problem):
    """Another request changed the same row between our reading and our writing it."""

    code: ClassVar[str] = "changed_meanwhile"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Somebody else changed it at the same moment."
    advice: ClassVar[str] = "Nothing was stored. Read it again, and repeat the request."


class Versioned:
    """A table whose rows count their changes.

    The mapper stores a change only where the row still has the version that was read, so that
    none can be lost; a StaleDataError tells. What updates rows past the mapper raises it itself.

    Attributes:
        __uncounted__: Columns that change without being counted, as the database itself does it.
    """

    __uncounted__: ClassVar[tuple[str, ...]] = ()

    # The default is the database's, since imports store rows past the mapper.
    version: Mapped[int] = mapped_column(server_default=text("1"), sort_order=102)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805  SQLAlchemy calls it with the class.
        """Let the mapper count."""
        return {"version_id_col": cls.version}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a unit of work has shown.

    Attributes:
        version: The row's.
        updated_at: When the row was last changed.
        content: What all that is shown follows from; None where only the answer itself tells.
    """

    version: str
    updated_at: datetime
    content: str | None = None


class AlreadyKnown(Exception):
    """The caller has what would be shown."""

    def __init__(self, shown: Shown) -> None:
        super().__init__(shown.version)
        self.shown = shown


def version_of(row: Any) -> str:
    """The version of a row, or of the columns of one.

    With the number stands a part of the id, because another row may come to have the same natural
    key. What only the desk changes has the last event that did so, which belongs to one row alone.
    """
    if hasattr(row, "version"):
        return f"{row.version}-{row.id.hex[-8:]}"
    return row.event_id.hex[-12:] if row.event_id else "0"


def show_version(session: Session, row: Any) -> None:
    """Tell the edge which version of which row the answer shows."""
    session.info[_SHOWN] = Shown(version_of(row), row.updated_at)


def show_alone(session: Session, row: Any) -> None:
    """Tell the edge the version of a row, and that the answer shows this row and nothing else."""
    session.info[_SHOWN] = _alone(row, type(row).__uncounted__)


def raise_if_known(session: Session, model: type[Any], *conditions: ColumnElement[bool]) -> None:
    """Raise AlreadyKnown where the caller has what `show_alone` is going to tell of the row.

    It asks nothing where the caller has named nothing, and else reads the row's version alone.

    Args:
        session: A reading unit of work.
        model: The table, which is a `Versioned` one.
        conditions: Which row it is, and all that lets the caller see it.
    """
    has: Callable[[Shown], bool] | None = session.info.get(_HAS)
    if has is None:
        return
    names = model.__uncounted__
    columns = [getattr(model, name) for name in ("id", "version", "updated_at", *names)]
    row = session.execute(select(*columns).where(*conditions)).one_or_none()
    if row is not None and has(shown := _alone(row, names)):
        raise AlreadyKnown(shown)


def _alone(row: Any, uncounted: tuple[str, ...]) -> Shown:
    # A database that is restored from a backup counts to the same versions again, at other times.
    names = ("id", "version", "updated_at", *uncounted)
    content = " ".join(str(getattr(row, name)) for name in names)
    return Shown(version_of(row), row.updated_at, content)


def shown_version(session: Session) -> Shown | None:
    """What `show_version` has told; None where the answer is of no single row."""
    return session.info.get(_SHOWN)


def expect_known(session: Session, has: Callable[[Shown], bool]) -> None:
    """Show nothing in this unit of work that the caller has, if that can be told beforehand."""
    session.info[_HAS] = has


def expect_versions(session: Session, versions: Collection[str]) -> None:
    """Let changes in this unit of work be only of these versions."""
    session.info[_KNOWN] = frozenset(versions)


def raise_if_modified(session: Session, row: Any) -> None:
    """Raise PreconditionFailed where the caller knows the row, but not its present version.

    The row must be locked, or else it may still change between this and the writing.
    """
    known = session.info.get(_KNOWN)
    if known is not None and version_of(row) not in known:
        raise PreconditionFailed(_OTHER_VERSION)


def as_conflict(session: Session) -> PreconditionFailed | ChangedMeanwhile:
    """The problem that a StaleDataError of the session amounts to."""
    if _KNOWN in session.info:
        return PreconditionFailed(_OTHER_VERSION)
    return ChangedMeanwhile("Another request changed the same at this moment.")
