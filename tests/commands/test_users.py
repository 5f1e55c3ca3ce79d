"""`circdesk users`, as an operator calls it, on both databases."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, select

from circdesk.accounts.models import User
from circdesk.audit.models import AuditEntry
from circdesk.auth.passwords import Hasher
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.forks import run_forked

PASSWORD = "seven quiet herons at noon"
Create = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def create(settings: Settings, engine: Engine, tmp_path: Path) -> Create:
    """Runs `circdesk users create` in production, where the service does not run."""

    def create(
        *options: str, given: str = "", **changes: str
    ) -> "subprocess.CompletedProcess[str]":
        asked = {"role": "admin", "email": "first@example.org", "name": "Fenna First"} | changes
        named = [text for name, value in asked.items() for text in (f"--{name}", value)]
        return run_forked(
            "users",
            "create",
            *named,
            *options,
            variables={
                "CIRCDESK_ENV": "production",
                "CIRCDESK_PUBLIC_URL": "https://library.example",
                "DATABASE_URL": settings.database_url.get_secret_value(),
                "CIRCDESK_SECRET_KEY": "x" * 40,
                "CIRCDESK_ENCRYPTION_KEY": "y" * 40,
            },
            cwd=tmp_path,
            given=given,
        )

    return create


def find(sessions: Sessions, email: str) -> User | None:
    with unit_of_work(sessions, writing=False) as session:
        return session.scalars(select(User).where(User.email == email)).one_or_none()


class TestCreate:
    def test_the_first_admin_signs_in_with_the_password_from_standard_input(
        self, create: Create, sessions: Sessions
    ) -> None:
        result = create("--password-stdin", given=f"{PASSWORD}\n", email="First@Example.org")

        assert (result.returncode, result.stderr) == (0, "")
        user = find(sessions, "first@example.org")
        assert user is not None
        assert (user.name, user.role, user.status) == ("Fenna First", "admin", "active")
        assert Hasher().verify(user.password_hash, PASSWORD)
        assert result.stdout == f"The admin {user.id} has the card {user.card_number}.\n"

    def test_it_is_audited_as_the_systems_doing(self, create: Create, sessions: Sessions) -> None:
        assert create("--password-stdin", given=PASSWORD).returncode == 0

        user = find(sessions, "first@example.org")
        assert user is not None
        with unit_of_work(sessions, writing=False) as session:
            (entry,) = session.scalars(select(AuditEntry))
        assert (entry.action, entry.actor_type, entry.actor_id) == ("user.create", "system", None)
        assert (entry.target_id, entry.details) == (user.id, {"role": "admin"})

    def test_without_a_password_a_token_is_printed_that_sets_one(
        self, create: Create, client: httpx.Client, sessions: Sessions
    ) -> None:
        result = create(role="librarian")

        assert (result.returncode, result.stderr) == (0, "")
        token = re.search(r"within an hour: ([A-Za-z0-9_-]{43})\n$", result.stdout)
        assert token is not None
        answer = client.post(
            "/api/password-resets/redemptions",
            json={"token": token[1], "new_password": PASSWORD},
        )
        assert answer.is_success, answer.text
        user = find(sessions, "first@example.org")
        assert user is not None
        assert Hasher().verify(user.password_hash, PASSWORD)

    @pytest.mark.parametrize(
        ("changes", "given", "told"),
        [
            pytest.param(
                {"email": "admin@example.org"},
                PASSWORD,
                "Another user has this email address.",
                id="an email that is taken",
            ),
            pytest.param(
                {},
                "password1234",
                "This password is among the first that are tried.",
                id="a common password",
            ),
            pytest.param(
                {},
                "",
                "A password has 12 to 1024 characters, none of them for control.",
                id="no password",
            ),
            pytest.param(
                {"email": "nobody", "name": " "},
                PASSWORD,
                "--email: the value does not match .*; --name: the value does not match .*",
                id="what the contract refuses",
            ),
        ],
    )
    def test_what_is_refused_is_one_line_and_leaves_nothing(
        self,
        create: Create,
        sessions: Sessions,
        changes: dict[str, str],
        given: str,
        told: str,
    ) -> None:
        result = create("--password-stdin", given=given, **changes)

        assert (result.returncode, result.stdout) == (2, "")
        assert re.fullmatch(f"circdesk: {told}\n", result.stderr)
        assert find(sessions, "first@example.org") is None

    def test_a_password_is_never_an_option(self, create: Create) -> None:
        result = create("--password", PASSWORD)

        assert result.returncode == 2
        assert "No such option: --password" in result.stderr
