"""What the items of a batch's records amount to: new copies, changed ones, and branches."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, func, select

from circdesk.catalog.imports.reading.records import SourceCopy
from circdesk.catalog.imports.writing.bulk import among
from circdesk.catalog.imports.writing.matching import KnownCopy
from circdesk.catalog.imports.writing.names import id_hex
from circdesk.catalog.imports.writing.planning import Draft, Plan
from circdesk.catalog.models import Branch, Copy
from circdesk.db.text import fold, sort_key

_NOT_IN_CODES = re.compile(r"[^a-z0-9_-]+")
_LONGEST_CODE = 64
# What the contract takes, so that `barcode:` finds each copy and every answer can be sent back.
_BARCODE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

# Branch and shelf mark, which tell copies without a barcode apart; how many there are of each.
_Unmarked = Counter[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """A copy to be made or, where it has an id, to be changed."""

    id: str | None
    book: str
    branch: str
    barcode: str | None
    shelf_mark: str | None
    material_type: str
    loanable: bool


@dataclass(slots=True)
class CopyPlan:
    """The copies of a batch, and the branches that are missing, code and name."""

    new: list[PlannedCopy] = field(default_factory=list)
    changed: list[PlannedCopy] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)


def plan_copies(connection: Connection, plan: Plan) -> CopyPlan:
    """Compare the items of the batch with the copies that there are; none is ever removed."""
    copies = CopyPlan()
    drafts = [draft for draft in plan.drafts.values() if draft.content.copies]
    unmarked = _unmarked_copies(connection, [draft.book for draft in drafts if not draft.new])
    for draft in drafts:
        there = unmarked.get(draft.book, Counter())
        for item in draft.content.copies:
            _plan_copy(plan, copies, draft, item, there)
    plan.tally.copies_created = len(copies.new)
    return copies


def branch_code(text: str) -> str:
    """The code of a branch, however a file writes it: letters, digits, `_` and `-`."""
    plain = text.casefold() if text.isascii() else fold(text)
    code = _NOT_IN_CODES.sub("-", plain).strip("-")
    if not code:
        # A script without Latin letters still gets a code, and always the same.
        code = f"branch-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return code[:_LONGEST_CODE]


def _plan_copy(
    plan: Plan, copies: CopyPlan, draft: Draft, item: SourceCopy, unmarked: _Unmarked
) -> None:
    if item.barcode and not _BARCODE.fullmatch(item.barcode):
        message = f'"{item.barcode}" cannot be a barcode here; the copy is taken without it.'
        plan.note(draft.record, "barcode_invalid", message)
        item = replace(item, barcode=None)
    known = plan.known.copies.get(item.barcode) if item.barcode else None
    if known and known.book != draft.book:
        message = (
            f'The barcode "{item.barcode}" is on a copy of another book; the item is left out.'
        )
        plan.note(draft.record, "barcode_taken", message)
        return
    code = _branch(plan, copies, draft, item)
    if item.barcode is None and unmarked[code, item.shelf_mark] > 0:
        unmarked[code, item.shelf_mark] -= 1
        return
    kind = item.material_type or (known.material_type if known else draft.content.material_type)
    copy = PlannedCopy(
        known.id if known else None,
        draft.book, code, item.barcode, item.shelf_mark, kind, item.loanable,
    )  # fmt: skip
    if known is None:
        copies.new.append(copy)
        if item.barcode:
            plan.known.copies[item.barcode] = KnownCopy(None, draft.book, kind)
    elif known.id is not None:
        copies.changed.append(copy)


def _branch(plan: Plan, copies: CopyPlan, draft: Draft, item: SourceCopy) -> str:
    """The code of the branch that the item names by its code or else by its name."""
    code, name = branch_code(item.branch), sort_key(item.branch)
    # A code that a person chose may have signs at its ends that none made here would have.
    for known in (item.branch.casefold(), code, plan.known.branch_names.get(name)):
        if known in plan.known.branches:
            return known
    plan.known.add_branch(code, name)
    copies.branches[code] = item.branch
    message = f'The branch "{item.branch}" was unknown and is created.'
    plan.note(draft.record, "branch_created", message)
    return code


def _unmarked_copies(connection: Connection, books: list[str]) -> dict[str, _Unmarked]:
    """The copies without a barcode of these books."""
    if not books:
        return {}
    query = (
        select(Copy.book_id, Branch.code, Copy.shelf_mark, func.count())
        .join(Copy.branch)
        .where(among(connection, Copy.book_id, books), Copy.barcode.is_(None))
        .group_by(Copy.book_id, Branch.code, Copy.shelf_mark)
    )
    counted: dict[str, _Unmarked] = {}
    for book, code, mark, number in connection.execute(query):
        counted.setdefault(id_hex(book), Counter())[code, mark] = number
    return counted
