"""Blocks: staff keep a person from borrowing, for a while or until they say otherwise."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from circdesk.accounts.users import find_user
from circdesk.audit.entries import record
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.models import Block
from circdesk.circulation.time import now
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import NotFound
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.versions import raise_if_modified, show_version
from circdesk.visits import find_actor

JSON = dict[str, Any]

_SORTS = {"created_at": (Block.created_at,)}


class BlockExpired(Problem):
    """A block would have expired before it began."""

    code: ClassVar[str] = "block_expired"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The block would be over already."
    advice: ClassVar[str] = "Send a time to come in `expires_at`, or null for a block without end."


class BlockQuery(PageQuery):
    """Whose blocks; the user is part of their cursors."""

    user_id: str
    active: bool | None


def list_blocks(session: Session, query: BlockQuery) -> Page:
    """One page of a user's blocks. Raises NotFound for the user."""
    user = find_user(session, query["user_id"])
    moment = now(session)
    found = select(Block).where(Block.user_id == user.id)
    if query["active"] is not None:
        found = found.where(_is_active(moment) if query["active"] else ~_is_active(moment))
    return paginate(
        session,
        found,
        sorts=_SORTS,
        query=query,
        present=lambda row: present_block(row[0], moment),
        scope="list_user_blocks",
    )


def create_block(session: Session, key: str, content: JSON) -> JSON:
    """Block a user, beside whatever blocks there are.

    Args:
        session: A writing unit of work.
        key: The user's id, or `card:` and the card's number.
        content: `reason`, and `expires_at` or None.

    Raises:
        NotFound: There is no such user.
        BlockExpired: It would be over already.
    """
    user, moment = find_user(session, key, changing=True), now(session)
    expires_at: datetime | None = content["expires_at"]
    if expires_at is not None and expires_at <= moment:
        message = "The block would have expired before it began."
        raise BlockExpired(message, details=[fault("body", "/expires_at", "future", message)])
    block = Block(
        user_id=user.id,
        reason=content["reason"],
        expires_at=expires_at,
        created_by=find_actor()[1],
        created_at=moment,
    )
    session.add(block)
    _record(session, "block.create", block, moment)
    return present_block(block, moment)


def read_block(session: Session, key: str, block_id: UUID) -> JSON:
    """One of a user's blocks. Raises NotFound for either of them."""
    block = _find(session, key, block_id)
    show_version(session, block)
    return present_block(block, now(session))


def lift_block(session: Session, key: str, block_id: UUID) -> None:
    """End a block; one that was lifted already stays so.

    Raises NotFound, as `read_block`, and PreconditionFailed.
    """
    block, moment = _find(session, key, block_id, changing=True), now(session)
    if block.lifted_at is None:
        block.lifted_at = block.updated_at = moment
        _record(session, "block.lift", block, moment)


def _find(session: Session, key: str, block_id: UUID, *, changing: bool = False) -> Block:
    user = find_user(session, key)
    found = select(Block).where(Block.id == block_id, Block.user_id == user.id)
    locked = found.with_for_update(key_share=True, of=Block)
    block = session.scalar(locked if changing else found)
    if block is None:
        raise NotFound(f"The user has no block with the id {block_id}.")
    if changing:
        raise_if_modified(session, block)
    return block


def _record(session: Session, kind: str, block: Block, moment: datetime) -> None:
    """Store the block, the event and the entry in the audit log; none of them tells the reason."""
    deed = Deed(kind, now=moment, user_id=block.user_id, undoable=False)
    record_deeds(session, [(deed, block)])
    record(session, kind, "user", block.user_id, block_id=block.id)


def _is_active(moment: datetime) -> ColumnElement[bool]:
    """The condition for blocks that count at a moment."""
    lasts = or_(Block.expires_at.is_(None), Block.expires_at > moment)
    return Block.lifted_at.is_(None) & lasts


def present_block(block: Block, moment: datetime) -> JSON:
    """A block as the contract shows it at a moment, by which it has expired or not."""
    return {
        "id": block.id,
        "user_id": block.user_id,
        "reason": block.reason,
        "status": _status(block, moment),
        "expires_at": block.expires_at,
        "created_by": block.created_by,
        "lifted_at": block.lifted_at,
        "created_at": block.created_at,
        "updated_at": block.updated_at,
    }


def _status(block: Block, moment: datetime) -> str:
    if block.lifted_at is not None:
        return "lifted"
    expired = block.expires_at is not None and block.expires_at <= moment
    return "expired" if expired else "active"
