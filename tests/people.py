"""The people who are there before every test: one user for each role, each with an API key."""

from uuid import UUID

from sqlalchemy import Engine

from circdesk.accounts.models import User
from circdesk.auth.models import ApiKey
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.db.unit_of_work import make_sessions, unit_of_work

MEMBER_ID = UUID("019b8d2b-8c00-7100-8000-000000000001")
LIBRARIAN_ID = UUID("019b8d2b-8c00-7100-8000-000000000002")
ADMIN_ID = UUID("019b8d2b-8c00-7100-8000-000000000003")
PEOPLE = {"member": MEMBER_ID, "librarian": LIBRARIAN_ID, "admin": ADMIN_ID}
SEEDED_TABLES = ("api_keys", "users")


def api_key(role: str) -> str:
    """The API key of the user with this role."""
    return f"cdk_the-key-of-the-{role}-that-only-tests-know"


def api_key_id(role: str) -> UUID:
    """The id of that API key."""
    return UUID(int=PEOPLE[role].int + 16)


def seed_people(engine: Engine) -> None:
    """Store one user for each role, with a name, an address, a card, a key, and no password."""
    with unit_of_work(make_sessions(engine), writing=True) as session:
        for number, (role, user_id) in enumerate(PEOPLE.items(), start=1):
            user = User(
                id=user_id,
                name=f"The {role}",
                sort_name=f"the {role}",
                email=f"{role}@example.org",
                card_number=f"2000{number}",
                role=role,
                status="active",
            )
            key = ApiKey(
                id=api_key_id(role),
                user_id=user_id,
                name="For tests",
                prefix=api_key(role)[:12],
                secret_hash=hash_secret(api_key(role)),
                scopes=sorted(ROLE_SCOPES[role]),
            )
            session.add_all((user, key))
