"""What can be done with branches."""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from circdesk.catalog.checks import suggestion
from circdesk.catalog.models import Branch, Copy
from circdesk.catalog.opening_hours import every_day, ordered_hours
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import NotFound
from circdesk.db.errors import raises_on
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.text import sort_key
from circdesk.db.versions import raise_if_known, raise_if_modified, show_alone

JSON = dict[str, Any]

_KEY = "code:"
_SORTS = {"name": (Branch.sort_name,), "code": (Branch.code,)}
_COPIES_NAMED = 20


class BranchCodeTaken(Problem):
    """Another branch has this code."""

    code: ClassVar[str] = "branch_code_taken"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Another branch has this code."
    advice: ClassVar[str] = "Choose another code, or change the branch in `suggestions` instead."


class BranchInUse(Problem):
    """Copies belong to the branch."""

    code: ClassVar[str] = "branch_in_use"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The branch has copies."
    advice: ClassVar[str] = "Move or delete its copies first; `details` names them."


def list_branches(session: Session, query: PageQuery) -> Page:
    """One page of the branches."""
    return paginate(
        session, select(Branch), sorts=_SORTS, query=query, present=lambda row: present(row[0])
    )


def create_branch(session: Session, content: JSON) -> JSON:
    """Open a branch. Raises BranchCodeTaken and OpeningHoursInvalid."""
    return _store(session, Branch(), content)


def read_branch(session: Session, key: str | UUID) -> JSON:
    """One branch, by its id or `code:` and its code. Raises NotFound."""
    raise_if_known(session, Branch, is_branch(key))
    branch = find_branch(session, key)
    show_alone(session, branch)
    return present(branch)


def replace_branch(session: Session, key: str | UUID, content: JSON) -> JSON:
    """Replace everything that a caller can set.

    Raises NotFound, PreconditionFailed, BranchCodeTaken and OpeningHoursInvalid.
    """
    return _store(session, find_branch(session, key, changing=True), content)


def patch_branch(session: Session, key: str | UUID, changes: JSON) -> JSON:
    """Apply a merge patch (RFC 7396), which changes single days of the opening hours too.

    Raises NotFound, PreconditionFailed, BranchCodeTaken and OpeningHoursInvalid.
    """
    branch = find_branch(session, key, changing=True)
    return _store(session, branch, _merged(present(branch), changes))


def delete_branch(session: Session, key: str | UUID) -> None:
    """Delete a branch.

    Raises NotFound, PreconditionFailed, and BranchInUse where copies stand in it.
    """
    branch = find_branch(session, key, changing=True)
    if count := session.scalar(select(func.count()).where(Copy.branch_id == branch.id)):
        raise _in_use(branch, count, _copies_in(session, branch))
    session.delete(branch)
    # A copy may come in from another transaction in the meantime.
    with raises_on("fk_copies_branch_id_branches", _in_use(branch)):
        session.flush()


def is_branch(key: str | UUID) -> ColumnElement[bool]:
    """The condition for the branch with this id, or with the code behind `code:`."""
    if isinstance(key, str) and key.startswith(_KEY):
        return Branch.code == key.removeprefix(_KEY)
    return Branch.id == UUID(str(key))


def present(branch: Branch) -> JSON:
    """A branch as the contract shows it."""
    return {
        "id": branch.id,
        "code": branch.code,
        "name": branch.name,
        "address": branch.address,
        "time_zone": branch.time_zone,
        "opening_hours": every_day(branch.opening_hours),
        "closed_days": branch.closed_days,
        "created_at": branch.created_at,
        "updated_at": branch.updated_at,
    }


def find_branch(session: Session, key: str | UUID, *, changing: bool = False) -> Branch:
    """The branch; with `changing`, locked, and of a version that the caller knows.

    Raises NotFound and PreconditionFailed.
    """
    found = select(Branch).where(is_branch(key))
    branch = session.scalar(found.with_for_update(key_share=True) if changing else found)
    if branch is None:
        raise NotFound(f"No branch has the key {key}.")
    if changing:
        raise_if_modified(session, branch)
    return branch


def _store(session: Session, branch: Branch, content: JSON) -> JSON:
    taken = _code_taken(content["code"])
    same = select(Branch.id).where(Branch.code == content["code"])
    if session.scalar(same) not in (None, branch.id):
        raise taken
    _fill(branch, content)
    session.add(branch)
    with raises_on("uq_branches_code", taken):
        session.flush()
    return present(branch)


def _fill(branch: Branch, content: JSON) -> None:
    branch.code = content["code"]
    branch.name = content["name"]
    branch.sort_name = sort_key(branch.name)
    branch.address = content["address"]
    branch.time_zone = content["time_zone"]
    branch.opening_hours = ordered_hours(content["opening_hours"])
    branch.closed_days = sorted(set(content["closed_days"] or ()))


def _merged(current: JSON, changes: JSON) -> JSON:
    """What the patch makes of the branch; within the opening hours it works day by day."""
    merged = current | changes
    merged["opening_hours"] = current["opening_hours"] | changes.get("opening_hours", {})
    return merged


def _code_taken(code: str) -> BranchCodeTaken:
    message = f"Another branch has the code {code}."
    key = f"{_KEY}{code}"
    return BranchCodeTaken(
        message,
        details=[fault("body", "/code", "unique", message)],
        suggestions=[suggestion("get_branch", {"branch_id": key}, reason="It has this code.")],
    )


def _copies_in(session: Session, branch: Branch) -> list[str]:
    query = select(Copy.id, Copy.barcode).where(Copy.branch_id == branch.id)
    copies = session.execute(query.order_by(Copy.id).limit(_COPIES_NAMED))
    return [f"barcode:{copy.barcode}" if copy.barcode else str(copy.id) for copy in copies]


def _in_use(branch: Branch, count: int = 1, copies: Sequence[str] = ()) -> BranchInUse:
    """The problem of a branch with so many copies, some of which are named."""
    return BranchInUse(
        f"The branch has {count:,} copies." if count > 1 else "The branch has a copy.",
        details=[
            fault("path", "/branch_id", "in_use", f"the copy {key} belongs to this branch", key)
            for key in copies
        ],
        suggestions=[
            suggestion(
                "list_copies",
                {"branch": f"{_KEY}{branch.code}"},
                reason="These are the copies of the branch.",
            )
        ],
    )
