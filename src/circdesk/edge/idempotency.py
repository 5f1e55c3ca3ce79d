"""Idempotency: a request that is repeated with its key is carried out once.

The rules are those of draft-ietf-httpapi-idempotency-key-header. The answer is stored in the
transaction of its effect, so that there are both or neither, whenever a process is killed. While
the first request runs, PostgreSQL holds a lock until that transaction ends, however it ends; on
SQLite there is one writer, and the next one finds the answer.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import SecretStr
from sqlalchemy import Connection, Row, Table, bindparam, delete, event, insert, select, text
from sqlalchemy.orm import Session, SessionTransaction

from circdesk import clock
from circdesk.auth.problems import scope_missing
from circdesk.auth.sealing import Sealer
from circdesk.contract.answers import Answer
from circdesk.contract.door import Call
from circdesk.contract.problems import Problem
from circdesk.db.rows import read_row
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.edge.fingerprints import Fingerprint
from circdesk.edge.models import ANSWERS_ARE_KEPT, IdempotencyKey
from circdesk.visits import Visit

Stored = Row[tuple[Any, ...]]

# The argument for the edge that the contract's header and query parameter both become.
_KEY = "idempotency_key"
_TABLE = cast("Table", IdempotencyKey.__table__)
_OF_KEY = _TABLE.c.key_hash == bindparam("key")
_FIND, _DELETE, _INSERT = (
    select(_TABLE).where(_OF_KEY),
    delete(_TABLE).where(_OF_KEY),
    insert(_TABLE),
)
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:number)")


class RequestInProgress(Problem):
    """The first request with this key has not ended yet."""

    code = "request_in_progress"
    status = 409
    title = "The request with this Idempotency-Key is still running."
    advice = "After the seconds in Retry-After, send the same request with the same key again."


class IdempotencyKeyReused(Problem):
    """The key came before, with another request."""

    code = "idempotency_key_reused"
    status = 422
    title = "This Idempotency-Key was used for another request."
    advice = "Make a new key for each new request; repeat with the old one the old request only."


class Settled(Exception):
    """What a request is answered is known: its handler is not to be run, or not to go on.

    It is no Problem, since business code may catch those of one item and go on with the next.

    Attributes:
        outcome: The answer that was stored, or why there is none.
    """

    def __init__(self, outcome: Answer | Problem) -> None:
        super().__init__()
        self.outcome = outcome


class Idempotency:
    """Keeps the answers to requests that have a key.

    Args:
        sessions: Where they are kept.
        encryption_key: The environment's key. Under another one all keys count as used for other
            requests, so that nothing is done twice.
    """

    def __init__(self, sessions: Sessions, encryption_key: SecretStr) -> None:
        self._sessions = sessions
        self._sealer = Sealer(encryption_key, "circdesk answers")
        self._secret = encryption_key.get_secret_value().encode()

    def begin(
        self, session: Session, call: Call, url: str, arguments: Mapping[str, Any]
    ) -> "Once | None":
        """What keeps the answer to this request; None where it has no key, or no effect.

        Args:
            session: The unit of work of the request, which has not touched the database yet. Its
                transaction begins by claiming the key; what the handler does before it, such as
                to hash a password or to receive a file, locks nothing.
            call: The request.
            url: What it was sent to, as it was sent.
            arguments: What its handler is called with.

        Raises:
            Settled: It was answered before.
        """
        key, operation = call.edge.get(_KEY), call.operation
        if key is None or operation is None or operation.safe:
            return None
        fingerprint = Fingerprint(self._secret, operation.method, url, arguments)
        once = Once(session, call, key, fingerprint, self._sealer)
        # What was done is repeated without a writer's turn. And it must be known before the
        # handler finds that the token that it takes was used.
        with unit_of_work(self._sessions, writing=False) as before:
            stored = read_row(before, _FIND, once.key)
        if stored is not None and _is_kept(stored):
            raise once.settled(stored)
        event.listen(session, "after_begin", once.claim, once=True)
        return once


class Once:
    """One request that is carried out once, by its key."""

    def __init__(
        self, session: Session, call: Call, key: str, fingerprint: Fingerprint, sealer: Sealer
    ) -> None:
        self._session, self._call = session, call
        self._fingerprint, self._sealer = fingerprint, sealer
        self._key_hash = _hash_key(call.visit, key)
        self._is_claimed = False

    @property
    def key(self) -> dict[str, str]:
        """The key, as a parameter of statements."""
        return {"key": self._key_hash}

    def settled(self, stored: Stored) -> Settled:
        """What follows from what is stored: the same answer again, or none."""
        if stored.fingerprint != self._fingerprint.hex():
            message = f"The key came with another request before, of {stored.operation}."
            return Settled(IdempotencyKeyReused(message))
        caller = self._call.visit.caller
        missing = set(stored.scopes) - (caller.scopes if caller else frozenset())
        if missing:
            # The handler might have asked for one of them, beyond what the door asks for.
            return Settled(scope_missing(sorted(missing)))
        body = self._sealer.unseal(stored.body, self._key_hash.encode())
        headers = stored.headers | {"Idempotent-Replayed": "true"}
        return Settled(Answer(stored.status, stored.media_type, body, headers))

    def claim(
        self, _session: Session, _transaction: SessionTransaction, connection: Connection
    ) -> None:
        """Begin the transaction of the request by having the key to itself.

        Raises:
            Settled: Another request has it just now, or has had it since this one began.
        """
        if connection.dialect.name == "postgresql":
            number = int.from_bytes(bytes.fromhex(self._key_hash)[:8], signed=True)
            if not connection.execute(_TRY_LOCK, {"number": number}).scalar_one():
                message = "The first request with this key has not ended yet."
                raise Settled(RequestInProgress(message, headers={"Retry-After": "1"}))
        # A statement of its own: what is found is what was there once the key was claimed.
        stored = connection.execute(_FIND, self.key).one_or_none()
        if stored is not None and _is_kept(stored):
            raise self.settled(stored)
        if stored is not None:
            connection.execute(_DELETE, self.key)
        self._is_claimed = True

    def keep(self, answer: Answer) -> None:
        """Store a success; any refusal leaves the key free, for when its cause is gone."""
        if not 200 <= answer.status < 300 or not isinstance(answer.body, bytes):
            return
        connection = self._session.connection()
        if not self._is_claimed:
            raise RuntimeError("the transaction has begun without claiming the idempotency key")
        connection.execute(_INSERT, self._row(answer, answer.body))

    def _row(self, answer: Answer, body: bytes) -> dict[str, Any]:
        operation, caller = self._call.operation, self._call.visit.caller
        return {
            "key_hash": self._key_hash,
            "operation": operation.operation_id if operation else "",
            "fingerprint": self._fingerprint.hex(),
            "scopes": sorted(caller.scopes) if caller else [],
            "status": answer.status,
            "media_type": answer.media_type,
            "headers": dict(answer.headers),
            "body": self._sealer.seal(body, self._key_hash.encode()),
            "created_at": clock.now(),
        }


def _is_kept(stored: Stored) -> bool:
    """Whether it still counts; the worker deletes it somewhat later."""
    return bool(stored.created_at > clock.now() - ANSWERS_ARE_KEPT)


def _hash_key(visit: Visit, key: str) -> str:
    """The name of a caller's key; who calls anonymously is known by the address alone.

    What an application does for a person is apart from what the person does by other means.
    """
    caller = visit.caller
    whose = [caller.user_id, caller.client_id] if caller else [visit.address]
    return hashlib.sha256(json.dumps([*whose, key], default=str).encode()).hexdigest()
