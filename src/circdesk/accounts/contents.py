"""What an account holds: as the contract shows it, and as it is stored."""

import unicodedata
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from circdesk.accounts.cards import card_numbers_collide, new_card_number
from circdesk.accounts.models import User
from circdesk.accounts.user_problems import card_number_taken, email_taken
from circdesk.catalog.branches import is_branch
from circdesk.catalog.copy_problems import unknown_reference
from circdesk.catalog.models import Branch
from circdesk.db.errors import raises_on
from circdesk.db.text import sort_key

JSON = dict[str, Any]

_CONTACT = ("phone", "postal_address")
_PRIVACY = ("keeps_history", "receives_news", "unwanted_notices")
# Stored as they are sent.
_PLAIN = ("role", "category", "status", "expires_on")
_STAMPS = {"created_at", "updated_at"}


def present(user: User) -> JSON:
    """A user as the contract shows it; nothing in it is secret."""
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "card_number": user.card_number,
        "role": user.role,
        "category": user.category,
        "branch_id": user.branch_id,
        "status": user.status,
        "expires_on": user.expires_on,
        "contact": {name: getattr(user, name) for name in _CONTACT},
        "privacy": {name: getattr(user, name) for name in _PRIVACY},
        "has_password": user.password_hash is not None,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    }


def apply(session: Session, user: User, content: JSON) -> set[str]:
    """Store what a body names of a new user or of one that is there; the rest stays.

    Returns the names of what is different now, as the contract calls them.

    Raises EmailTaken, CardNumberTaken, and ReferenceUnknown for a branch that is not there.
    """
    values = {**_own_values(content), **_unique_values(session, user, content)}
    if "branch_id" in content:
        values["branch_id"] = _branch_id(session, content["branch_id"])
    before = present(user)
    for name, value in values.items():
        setattr(user, name, value)
    session.add(user)
    _flush(session, content)
    after = present(user)
    return {name for name, value in before.items() if after[name] != value} - _STAMPS


def _own_values(content: JSON) -> JSON:
    """The columns that depend on nothing but the body."""
    values = {name: content[name] for name in _PLAIN if name in content}
    values |= {**content.get("contact", {}), **content.get("privacy", {})}
    if "name" in content:
        name = unicodedata.normalize("NFC", content["name"]).strip()
        values |= {"name": name, "sort_name": sort_key(name)}
    return values


def _unique_values(session: Session, user: User, content: JSON) -> JSON:
    """The columns that no two users may have alike."""
    values: JSON = {}
    if "email" in content:
        values["email"] = email = content["email"] and content["email"].lower()
        if (holder := _other_with(session, user, User.email, email)) is not None:
            raise email_taken(holder)
    if "card_number" in content:
        number = content["card_number"]
        if _other_with(session, user, User.card_number, number) is not None:
            raise card_number_taken(number)
        values["card_number"] = number or new_card_number(session)
    return values


def _other_with(
    session: Session, user: User, column: InstrumentedAttribute[str | None], value: str | None
) -> UUID | None:
    if value is None:
        return None
    holder = session.scalar(select(User.id).where(column == value))
    return None if holder == user.id else holder


def _branch_id(session: Session, key: str | None) -> UUID | None:
    if key is None:
        return None
    branch_id = session.scalar(select(Branch.id).where(is_branch(key)))
    if branch_id is None:
        raise unknown_reference("branch", key)
    return branch_id


def _flush(session: Session, content: JSON) -> None:
    """Store it, although between the checks and this another transaction may have been faster."""
    number, branch = content.get("card_number"), content.get("branch_id")
    with (
        raises_on("uq_users_email", email_taken()),
        raises_on(
            "uq_users_card_number", card_number_taken(number) if number else card_numbers_collide()
        ),
        raises_on("fk_users_branch_id_branches", unknown_reference("branch", str(branch))),
    ):
        session.flush()
