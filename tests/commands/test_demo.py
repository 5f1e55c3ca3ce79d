"""The demo's people, keys and clients, and the file with their credentials, on both databases."""

import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select

from circdesk.accounts.models import User
from circdesk.auth.api_keys import find_by_secret
from circdesk.auth.models import ApiKey, OAuthClient
from circdesk.auth.passwords import Hasher
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.commands.demo import keep_access, prepare_demo
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings, SettingsError
from tests.people import PEOPLE

JSON = dict[str, Any]
Keep = Callable[..., JSON]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "demo.json"


@pytest.fixture
def keep(sessions: Sessions, file: Path) -> Keep:
    """Stores people, keys and clients as each start does, beside nobody; answers the file."""
    with unit_of_work(sessions, writing=True) as session:
        session.execute(delete(User).where(User.id.in_(PEOPLE.values())))

    def keep(base_url: str = "http://127.0.0.1:8000") -> JSON:
        keep_access(sessions, file, base_url)
        content: JSON = json.loads(file.read_text())
        return content

    return keep


def everything(sessions: Sessions) -> list[str]:
    """All that is stored of people, keys and clients."""
    with unit_of_work(sessions, writing=False) as session:
        return [
            repr(row)
            for model in (User, ApiKey, OAuthClient)
            for row in session.execute(select(model.__table__).order_by("id"))
        ]


def assert_good(sessions: Sessions, demo: JSON) -> None:
    """Assert that every secret in the file opens what it says."""
    with unit_of_work(sessions, writing=False) as session:
        for told in demo["users"]:
            user = session.get(User, UUID(told["id"]))
            assert user is not None
            stored = (user.role, user.email, user.card_number, user.status)
            assert stored == (told["role"], told["email"], told["card_number"], "active")
            assert Hasher().verify(user.password_hash, told["password"])
            caller = find_by_secret(session, demo["api_keys"][told["role"]])
            assert (caller.user_id, caller.scopes) == (user.id, ROLE_SCOPES[user.role])
        told = demo["clients"]["confidential"]
        client = session.get(OAuthClient, UUID(told["client_id"]))
        assert client is not None
        assert client.secret_hash == hash_secret(told["client_secret"])


class TestFile:
    def test_it_names_one_user_for_each_role_a_key_for_each_and_two_clients(
        self, keep: Keep
    ) -> None:
        demo = keep()

        passwords = [user.pop("password") for user in demo["users"]]
        secret = demo["clients"]["confidential"].pop("client_secret")
        keys = demo.pop("api_keys")
        assert demo == {
            "base_url": "http://127.0.0.1:8000",
            "users": [
                {
                    "role": "member",
                    "email": "reader@example.org",
                    "card_number": "20001",
                    "id": "019b8d2b-8c00-7009-8000-000000000001",
                },
                {
                    "role": "librarian",
                    "email": "librarian@example.org",
                    "card_number": "20002",
                    "id": "019b8d2b-8c00-7009-8000-000000000002",
                },
                {
                    "role": "admin",
                    "email": "admin@example.org",
                    "card_number": "20003",
                    "id": "019b8d2b-8c00-7009-8000-000000000003",
                },
            ],
            "clients": {
                "confidential": {"client_id": "019b8d2b-8c00-700b-8000-000000000001"},
                "public": {
                    "client_id": "019b8d2b-8c00-700b-8000-000000000002",
                    "redirect_uri": "http://127.0.0.1/callback",
                },
            },
        }
        assert list(keys) == ["member", "librarian", "admin"]
        assert {len(key) for key in keys.values()} == {len("cdk_") + 43}
        assert len({*passwords, *keys.values(), secret}) == 7

    def test_only_its_owner_can_read_it(self, keep: Keep, file: Path) -> None:
        keep()

        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert list(file.parent.iterdir()) == [file]

    def test_every_secret_in_it_is_good_and_none_is_stored(
        self, keep: Keep, sessions: Sessions
    ) -> None:
        demo = keep()

        assert_good(sessions, demo)
        stored = "".join(everything(sessions))
        assert not any(user["password"] in stored for user in demo["users"])
        assert not any(key in stored for key in demo["api_keys"].values())
        assert demo["clients"]["confidential"]["client_secret"] not in stored


class TestClients:
    def test_the_confidential_one_is_for_machines(self, keep: Keep, sessions: Sessions) -> None:
        demo = keep()

        with unit_of_work(sessions, writing=False) as session:
            client = session.get_one(
                OAuthClient, UUID(demo["clients"]["confidential"]["client_id"])
            )
        assert (client.name, client.type) == ("Demo service", "confidential")
        assert client.grant_types == ["authorization_code", "client_credentials", "refresh_token"]
        assert client.redirect_uris == ["http://127.0.0.1/callback"]
        kept_back = {"credentials:read", "credentials:write"}
        assert set(client.scopes) == ROLE_SCOPES["admin"] - kept_back

    def test_the_public_one_follows_the_address_of_swagger_ui(
        self, keep: Keep, sessions: Sessions
    ) -> None:
        for address in ("http://127.0.0.1:8000", "http://127.0.0.1:9000"):
            demo = keep(address)

            with unit_of_work(sessions, writing=False) as session:
                client = session.get_one(OAuthClient, UUID(demo["clients"]["public"]["client_id"]))
            assert demo["base_url"] == address
            assert (client.name, client.type, client.secret_hash) == ("Swagger UI", "public", None)
            assert client.grant_types == ["authorization_code", "refresh_token"]
            assert client.redirect_uris == [
                f"{address}/docs/oauth2-redirect.html",
                "http://127.0.0.1/callback",
            ]


class TestNextStart:
    def test_everything_stays(self, keep: Keep, sessions: Sessions) -> None:
        demo = keep()
        before = everything(sessions)

        assert keep() == demo
        assert everything(sessions) == before

    @pytest.mark.parametrize("content", [None, "[]", '{"users": {}, "api_keys": [], "x": 1}'])
    def test_a_file_that_is_gone_or_damaged_is_made_anew(
        self, keep: Keep, sessions: Sessions, file: Path, content: str | None
    ) -> None:
        before = keep()
        file.unlink() if content is None else file.write_text(content)

        demo = keep()

        assert demo != before
        assert_good(sessions, demo)

    def test_what_does_not_fit_the_database_is_made_anew_and_the_rest_stays(
        self, keep: Keep, sessions: Sessions
    ) -> None:
        before = keep()
        with unit_of_work(sessions, writing=True) as session:
            member = session.get_one(User, UUID(before["users"][0]["id"]))
            member.password_hash = Hasher().hash("another password")
            member.status, member.role = "blocked", "librarian"
            session.execute(delete(ApiKey).where(ApiKey.user_id == member.id))

        demo = keep()

        assert_good(sessions, demo)
        assert demo["users"][0].pop("password") != before["users"][0].pop("password")
        assert demo["api_keys"].pop("member") != before["api_keys"].pop("member")
        assert demo == before

    def test_another_database_gets_secrets_of_its_own(self, keep: Keep, sessions: Sessions) -> None:
        before = keep()
        with unit_of_work(sessions, writing=True) as session:
            for model in (User, OAuthClient):
                session.execute(delete(model))

        demo = keep()

        assert demo["api_keys"].keys() == before["api_keys"].keys()
        assert not {*demo["api_keys"].values()} & {*before["api_keys"].values()}
        assert_good(sessions, demo)

    def test_two_starts_at_once_agree(self, keep: Keep, sessions: Sessions, file: Path) -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: keep(), range(2)))

        assert_good(sessions, json.loads(file.read_text()))


class TestRefusals:
    @pytest.mark.parametrize("env", ["staging", "production"])
    def test_a_deployment_for_real_has_no_demo(self, settings: Settings, env: str) -> None:
        real = settings.model_copy(update={"env": env})

        with pytest.raises(SettingsError, match=f"^--demo does not go with CIRCDESK_ENV={env}$"):
            prepare_demo(real)

    def test_a_user_who_has_the_email_already_is_left_alone(
        self, keep: Keep, sessions: Sessions, file: Path
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            user = User(name="Mine", sort_name="mine", email="reader@example.org")
            user.role, user.status = "member", "active"
            session.add(user)

        with pytest.raises(SettingsError, match=r"^--demo: another user has the email"):
            keep()
        assert not file.exists()
