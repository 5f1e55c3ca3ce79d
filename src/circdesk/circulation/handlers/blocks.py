"""HTTP face of blocks."""

from typing import Unpack
from uuid import UUID

from circdesk.circulation import blocks
from circdesk.circulation.blocks import JSON, BlockQuery
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session


def list_user_blocks(**query: Unpack[BlockQuery]) -> Page:
    """List a user's blocks."""
    return blocks.list_blocks(current_session(), query)


def create_user_block(*, user_id: str, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Block a user."""
    block = blocks.create_block(current_session(), user_id, body)
    location = f"/api/users/{block['user_id']}/blocks/{block['id']}"
    return block, 201, {"Location": location}


def get_user_block(*, user_id: str, block_id: UUID) -> JSON:
    """Read one of a user's blocks."""
    return blocks.read_block(current_session(), user_id, block_id)


def lift_user_block(*, user_id: str, block_id: UUID) -> None:
    """End a block."""
    blocks.lift_block(current_session(), user_id, block_id)
