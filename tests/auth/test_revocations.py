"""Revocations: rows that live as long as the tokens that they end could."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.auth.models import Revocation
from circdesk.auth.revocations import (
    ended_key,
    is_revoked,
    last_expiry,
    live_revocations,
    revoke,
)
from circdesk.db.unit_of_work import Sessions, unit_of_work


def test_a_subject_is_revoked_until_every_token_has_expired(session: Session) -> None:
    subject = uuid4()

    revoke(session, subject)

    assert live_revocations(session) == {str(subject)}
    expires_at = session.scalars(select(Revocation.expires_at)).one()
    assert expires_at - clock.now() > timedelta(minutes=10)


def test_a_token_is_revoked_until_it_expires(session: Session) -> None:
    expires_at = clock.now() + timedelta(minutes=3)

    revoke(session, "a token", expires_at)

    assert session.scalars(select(Revocation.expires_at)).one() == expires_at


def test_a_revocation_can_be_repeated(session: Session) -> None:
    revoke(session, "a token", clock.now() + timedelta(minutes=3))
    expires_at = last_expiry()

    revoke(session, "a token", expires_at)

    assert session.scalars(select(Revocation.expires_at)).one() == expires_at


def test_keys_that_have_ended_are_known_and_no_part_of_what_tokens_are_held_against(
    session: Session,
) -> None:
    revoke(session, ended_key("a hash"))
    revoke(session, "api-key: a token")

    assert is_revoked(session, ended_key("a hash"))
    assert not is_revoked(session, ended_key("another hash"))
    assert live_revocations(session) == {"api-key: a token"}


def test_what_is_over_is_deleted_by_the_next_one(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoke(session, "an old token")
    later = clock.now() + timedelta(minutes=72)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert live_revocations(session) == set()

    revoke(session, "a new token")

    assert session.scalars(select(Revocation.subject)).all() == ["a new token"]


def test_what_another_transaction_deletes_is_not_waited_for(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sessions.writing().get_bind().dialect.name == "sqlite":
        return  # It has one writer.
    with unit_of_work(sessions, writing=True) as session:
        revoke(session, "an old token", clock.now() - timedelta(seconds=1))

    with unit_of_work(sessions, writing=True) as one:
        revoke(one, "one")
        with unit_of_work(sessions, writing=True) as other:
            revoke(other, "other")

    with unit_of_work(sessions, writing=False) as session:
        assert session.scalar(select(func.count()).select_from(Revocation)) == 2
