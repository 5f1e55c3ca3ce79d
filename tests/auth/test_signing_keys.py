"""Signing keys: one signs, the others verify what they have signed, and none is readable."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.audit.models import AuditEntry
from circdesk.auth.models import SigningKey
from circdesk.auth.signing_keys import (
    create_signing_key,
    find_signer,
    public_key,
    verifying_jwks,
)
from circdesk.auth.tokens import AccessTokens
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings, SettingsError
from tests.tokens import Mint

SECRET = SecretStr("an encryption key that only tests know")
OTHER = SecretStr("another encryption key, just as long")


class TestFirstKey:
    def test_the_first_use_makes_it(self, session: Session) -> None:
        kid, private = find_signer(session, SECRET)

        (key,) = session.scalars(select(SigningKey))
        assert kid == str(key.id)
        assert public_key(key.public_jwk) == private.public_key()
        assert (key.algorithm, key.retired_at, key.verifies_until) == ("EdDSA", None, None)

    def test_the_next_use_finds_it(self, session: Session) -> None:
        first, second = find_signer(session, SECRET), find_signer(session, SECRET)

        assert first[0] == second[0]
        assert first[1].private_bytes_raw() == second[1].private_bytes_raw()

    def test_many_who_come_first_make_one(self, sessions: Sessions) -> None:
        def use(_number: int) -> str:
            with unit_of_work(sessions, writing=True) as session:
                return find_signer(session, SECRET)[0]

        with ThreadPoolExecutor(4) as pool:
            kids = set(pool.map(use, range(8)))

        assert len(kids) == 1

    def test_it_is_an_audit_entry(self, session: Session) -> None:
        kid, _ = find_signer(session, SECRET)
        session.flush()

        (entry,) = session.scalars(select(AuditEntry))
        assert (entry.action, entry.actor_type) == ("signing_key.create", "system")
        assert str(entry.target_id) == kid
        assert entry.details == {"cause": "first_use"}


class TestPrivateHalf:
    def test_it_is_stored_encrypted(self, session: Session) -> None:
        _, private = find_signer(session, SECRET)

        (key,) = session.scalars(select(SigningKey))
        stored = key.private_key or ""
        raw = private.private_bytes_raw()
        assert raw.hex() not in stored
        assert raw not in stored.encode()
        assert len(stored) == 80, "a nonce, 32 bytes and a tag in base64"

    def test_another_encryption_key_cannot_read_it(self, session: Session) -> None:
        find_signer(session, SECRET)

        with pytest.raises(SettingsError) as caught:
            find_signer(session, OTHER)

        assert str(caught.value) == (
            "CIRCDESK_ENCRYPTION_KEY is not the one with which the signing key was encrypted; "
            "set that one, or run `circdesk keys rotate`"
        )

    def test_a_new_encryption_key_signs_after_a_rotation(self, session: Session) -> None:
        find_signer(session, SECRET)
        create_signing_key(session, OTHER)

        _, private = find_signer(session, OTHER)

        assert isinstance(private, Ed25519PrivateKey)

    def test_it_cannot_be_moved_to_another_key(self, session: Session) -> None:
        find_signer(session, SECRET)
        (key,) = session.scalars(select(SigningKey))
        private_key = key.private_key
        create_signing_key(session, SECRET)
        (current,) = session.scalars(select(SigningKey).where(SigningKey.retired_at.is_(None)))
        current.private_key = private_key
        session.flush()

        with pytest.raises(SettingsError):
            find_signer(session, SECRET)

    def test_it_goes_when_the_key_is_replaced(self, session: Session) -> None:
        kid, _ = find_signer(session, SECRET)

        create_signing_key(session, SECRET)

        session.expire_all()
        old = session.scalars(select(SigningKey).where(SigningKey.private_key.is_(None))).one()
        assert str(old.id) == kid


class TestRotation:
    def test_the_new_key_signs_and_the_old_one_verifies_until_its_last_token_is_gone(
        self, session: Session
    ) -> None:
        old, _ = find_signer(session, SECRET)
        before = clock.now()

        new = create_signing_key(session, SECRET)

        assert find_signer(session, SECRET)[0] == str(new["id"]) != old
        assert [jwk["kid"] for jwk in verifying_jwks(session)] == [str(new["id"]), old]
        session.expire_all()
        retired = session.scalars(select(SigningKey).where(SigningKey.id != new["id"])).one()
        assert retired.retired_at is not None
        assert retired.verifies_until is not None
        assert before <= retired.retired_at <= clock.now()
        assert retired.verifies_until - retired.retired_at >= timedelta(minutes=10)

    def test_an_old_key_verifies_no_more_in_the_end(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        find_signer(session, SECRET)
        new = create_signing_key(session, SECRET)
        later = clock.now() + timedelta(minutes=72)
        monkeypatch.setattr(clock, "now", lambda: later)

        assert [jwk["kid"] for jwk in verifying_jwks(session)] == [str(new["id"])]

    def test_two_at_once_leave_one_that_signs(self, sessions: Sessions) -> None:
        def rotate(_number: int) -> None:
            with unit_of_work(sessions, writing=True) as session:
                create_signing_key(session, SECRET)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(rotate, range(8)))

        with unit_of_work(sessions, writing=False) as session:
            current = select(SigningKey).where(SigningKey.retired_at.is_(None))
            assert len(session.scalars(current).all()) == 1
            assert len(verifying_jwks(session)) == 8


class TestCommand:
    def test_another_process_replaces_the_key_under_a_running_one(
        self, sessions: Sessions, settings: Settings, tmp_path: Path
    ) -> None:
        mint = Mint(sessions, "http://127.0.0.1:8000", settings.encryption_key)
        tokens = AccessTokens(sessions, settings)
        old = mint.token()
        asyncio.run(tokens.verify(old))

        result = subprocess.run(
            [sys.executable, "-c", "from circdesk.cli import main; main()", "keys", "rotate"],
            env=os.environ
            | {
                "DATABASE_URL": settings.database_url.get_secret_value(),
                "CIRCDESK_INSTANCE": str(tmp_path),
                "CIRCDESK_ENCRYPTION_KEY": settings.encryption_key.get_secret_value(),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

        assert result.returncode == 0, result.stderr
        new = mint.token()
        kid = jwt.get_unverified_header(new)["kid"]
        assert result.stdout == f"The key {kid} signs access tokens from now on.\n"
        assert jwt.get_unverified_header(old)["kid"] != kid
        asyncio.run(tokens.verify(new))
        asyncio.run(tokens.verify(old))
        tokens.close()
