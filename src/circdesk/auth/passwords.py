"""Passwords: which are taken, and how they are kept (Argon2id, RFC 9106; NIST SP 800-63B)."""

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.common_passwords import is_common
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import Overloaded

# What the contract allows, in characters; whatever is longer never reaches the hash.
SHORTEST, LONGEST = 12, 1024

# Each hash takes 64 MiB and four threads for a moment. As many are made at once, as many wait for
# their turn, and they wait for so many seconds; more are turned away.
_AT_ONCE, _WAITING, _SECONDS = 2, 8, 5.0

# The library's defaults are the second choice of RFC 9106, for machines short of memory.
_argon2 = PasswordHasher()
_turns = threading.BoundedSemaphore(_AT_ONCE)
_places = threading.BoundedSemaphore(_AT_ONCE + _WAITING)


class PasswordTooCommon(Problem):
    """The password is one of those that are tried first."""

    code = "password_too_common"
    status = 422
    title = "The password is too easy to guess."
    advice = "Choose another: a few words that nobody else would put together are easy to keep."


class PasswordUnreadable(Problem):
    """The password is of a length or of characters that no password may have."""

    code = "password_unreadable"
    status = 422
    title = "This cannot be a password."
    advice = "Send 12 to 1024 characters of text, without control characters."


class Hasher:
    """Makes and checks hashes; whoever has one has a turn, see `hashing`."""

    def hash(self, password: str) -> str:
        """What is stored of a password."""
        return _argon2.hash(_prepare(password))

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether the hash was made of this password.

        Where nothing is stored, or the password cannot be one, the answer takes as long.
        """
        readable = is_readable(password)
        candidate = _prepare(password) if readable else ""
        try:
            _argon2.verify(stored or _nobodys_hash(), candidate)
        except (VerifyMismatchError, InvalidHashError):
            return False
        return readable and stored is not None

    def renew(self, stored: str, password: str) -> str:
        """The hash as today's parameters make it, of a password that was verified."""
        return self.hash(password) if _argon2.check_needs_rehash(stored) else stored


@contextmanager
def hashing() -> Iterator[Hasher]:
    """Wait for a turn to hash, so that memory stays bounded however many people sign in.

    Raises:
        Overloaded: Too many wait already, or the turn did not come in time.
    """
    busy = Overloaded("Too many passwords wait to be checked.", headers={"Retry-After": "5"})
    if not _places.acquire(blocking=False):
        raise busy
    try:
        if not _turns.acquire(timeout=_SECONDS):
            raise busy
        try:
            yield Hasher()
        finally:
            _turns.release()
    finally:
        _places.release()


def hash_password(password: str) -> str:
    """What is stored of a password. Raises Overloaded."""
    with hashing() as hasher:
        return hasher.hash(password)


def set_password(user: User, password: str, *, pointer: str = "/password") -> None:
    """Give the user a password, which may take a while: lock nothing before.

    Args:
        user: The account, its name, email and card already set.
        password: What the person chose.
        pointer: Where the password stands in the request's body.

    Raises:
        PasswordTooCommon, PasswordUnreadable: It is refused.
        Overloaded: Too many people set and send passwords at the moment.
    """
    raise_if_refused(password, user, pointer=pointer)
    user.password_hash = hash_password(password)
    user.password_changed_at = clock.now()


def raise_if_refused(password: str, user: User, *, pointer: str = "/password") -> None:
    """Refuse what is too easy to guess. Raises as `set_password` does."""
    if not is_readable(password) or len(password) < SHORTEST:
        message = f"A password has {SHORTEST} to {LONGEST} characters, none of them for control."
        details = [_fault(pointer, "password", message)]
        raise PasswordUnreadable(message, details=details)
    folded = _prepare(password).casefold()
    if is_common(folded) or _is_own(folded, user):
        message = "This password is among the first that are tried."
        raise PasswordTooCommon(message, details=[_fault(pointer, "common", message)])


def is_readable(password: str) -> bool:
    """Whether this can be hashed at all; a page outside the contract may be sent anything."""
    return len(password) <= LONGEST and not any(
        unicodedata.category(character) in ("Cc", "Cs") for character in password
    )


def _prepare(password: str) -> str:
    """One form for what keyboards write in several (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _is_own(password: str, user: User) -> bool:
    """Whether it stands on the person's card, or is known of the person anyway."""
    known = (user.email, user.name, user.card_number)
    return password in {_prepare(text).casefold() for text in known if text}


@cache
def _nobodys_hash() -> str:
    """A hash with today's parameters that no password has."""
    return _argon2.hash("")


def _fault(pointer: str, rule: str, message: str) -> dict[str, Any]:
    return fault("body", pointer, rule, message)
