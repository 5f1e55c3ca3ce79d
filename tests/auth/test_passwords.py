"""Passwords: the rules, the hashes, and what bounds their cost."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type

from circdesk.accounts.models import User
from circdesk.auth.passwords import (
    Hasher,
    PasswordTooCommon,
    PasswordUnreadable,
    hash_password,
    hashing,
    is_readable,
    raise_if_refused,
    set_password,
)
from circdesk.contract.requests import Overloaded

GOOD = "a quiet evening by the harbour"

pytestmark = pytest.mark.usefixtures("real_hashes")


@pytest.fixture
def user() -> User:
    return User(name="Ada Marie Reader", email="ada.reader@example.org", card_number="200010000042")


class TestHashing:
    def test_a_hash_is_argon2id_by_the_second_choice_of_rfc_9106(self) -> None:
        stored = hash_password(GOOD)

        assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert GOOD not in stored

    def test_a_password_verifies_against_its_own_hash_alone(self) -> None:
        stored = hash_password(GOOD)
        with hashing() as hasher:
            assert hasher.verify(stored, GOOD)
            assert not hasher.verify(stored, GOOD + " ")
            assert not hasher.verify(None, GOOD)
            assert not hasher.verify("no hash at all", GOOD)

    def test_no_password_verifies_where_none_is_stored(self) -> None:
        with hashing() as hasher:
            assert not hasher.verify(None, "")

    def test_what_keyboards_write_in_two_ways_is_one_password(self) -> None:
        stored = hash_password("caf\N{LATIN SMALL LETTER E WITH ACUTE} by the harbour")
        with hashing() as hasher:
            assert hasher.verify(stored, "cafe\N{COMBINING ACUTE ACCENT} by the harbour")

    def test_a_hash_with_weaker_parameters_is_renewed_and_a_present_one_kept(self) -> None:
        weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1, type=Type.ID)
        stored = weak.hash(GOOD)
        with hashing() as hasher:
            renewed = hasher.renew(stored, GOOD)
            assert renewed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
            assert hasher.verify(renewed, GOOD)
            assert hasher.renew(renewed, GOOD) == renewed

    @pytest.mark.parametrize("password", ["x" * 1_000_000, "\ud800" * 12, "nul\0" * 4])
    def test_what_cannot_be_a_password_never_reaches_the_hash(self, password: str) -> None:
        stored = hash_password("")
        with hashing() as hasher:
            started = time.perf_counter()
            hasher.verify(None, "")
            usual = time.perf_counter() - started
            started = time.perf_counter()
            assert not hasher.verify(stored, password)
            # A million characters through the hash alone would be seen.
            assert time.perf_counter() - started < 3 * usual + 0.2


class TestTurns:
    def test_two_hash_at_once_and_the_third_waits(self) -> None:
        entered = threading.Event()

        def third() -> None:
            with hashing():
                entered.set()

        with ThreadPoolExecutor() as pool:
            with ExitStack() as turns:
                turns.enter_context(hashing())
                turns.enter_context(hashing())
                waiting = pool.submit(third)
                assert not entered.wait(0.2)
            assert entered.wait(60)
            waiting.result()

    def test_when_ten_are_there_the_eleventh_is_turned_away_at_once(self) -> None:
        with many_turns(10), pytest.raises(Overloaded) as refusal, hashing():
            pass

        assert refusal.value.headers == {"Retry-After": "5"}

    def test_a_turn_is_given_back_when_the_block_raises(self) -> None:
        for _ in range(20):
            with pytest.raises(KeyError), hashing():
                raise KeyError
        with hashing() as hasher:
            assert isinstance(hasher, Hasher)


@contextmanager
def many_turns(count: int) -> Iterator[None]:
    """So many threads that hash or wait to."""
    leave = threading.Event()

    def take() -> None:
        with hashing():
            leave.wait(60)

    threads = [threading.Thread(target=take) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        leave.set()
        for thread in threads:
            thread.join()


class TestRules:
    @pytest.mark.parametrize(
        "password",
        [
            "123456789012",  # Counts.
            "210987654321",
            "abcdefghijklm",
            "aaaaaaaaaaaa",  # Repeats.
            "drowssapdrowssapdrowssap",
            "1qaz2wsx3edc",  # Stands in the list.
            "1QAZ2wsx3EDC",
            "administrator",  # A word.
            "passwordpassword",
            "Password1234",  # Two of the list in a row.
            "letmeinqwerty",
            "Summer202612",  # One of the list with a year and a month.
            "\N{FULLWIDTH LATIN SMALL LETTER P}assword1234",
        ],
    )
    def test_what_is_tried_first_is_refused(self, user: User, password: str) -> None:
        with pytest.raises(PasswordTooCommon) as refusal:
            raise_if_refused(password, user, pointer="/new_password")

        assert refusal.value.details == [
            {
                "in": "body",
                "pointer": "/new_password",
                "rule": "common",
                "message": "This password is among the first that are tried.",
            }
        ]

    @pytest.mark.parametrize(
        "password",
        ["ada.reader@example.org", "Ada.Reader@Example.ORG", "ada marie reader", "200010000042"],
    )
    def test_what_is_known_of_the_person_is_refused(self, user: User, password: str) -> None:
        with pytest.raises(PasswordTooCommon):
            raise_if_refused(password, user)

    @pytest.mark.parametrize(
        "password",
        [
            "short",
            "x" * 1025,
            "nul in it\0 somewhere",
            "a bell\a rings twice",
            "half \ud83d of a pair",
        ],
    )
    def test_what_is_too_short_too_long_or_no_text_is_refused(
        self, user: User, password: str
    ) -> None:
        with pytest.raises(PasswordUnreadable) as refusal:
            raise_if_refused(password, user)

        assert refusal.value.details[0]["pointer"] == "/password"

    @pytest.mark.parametrize(
        "password",
        [
            GOOD,
            "correct horse battery",
            "\u6e2f\u306e\u9759\u304b\u306a\u5915\u66ae\u308c\u3068\u672c\u3068\u732b",
            "🦉🦊🐢 drei Tiere lesen",
            "9" * 11 + "x y z!",
        ],
    )
    def test_a_few_words_are_taken(self, user: User, password: str) -> None:
        raise_if_refused(password, user)

    def test_somebody_without_email_and_card_has_nothing_of_their_own(self) -> None:
        raise_if_refused(GOOD, User(name=None, email=None, card_number=None))

    def test_the_longest_password_of_the_widest_characters_is_judged_at_once(
        self, user: User
    ) -> None:
        # NFKC makes eighteen characters of each of these.
        password = "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}x" * 512
        started = time.perf_counter()
        raise_if_refused(password[:-1] + "y", user)

        assert time.perf_counter() - started < 0.5

    def test_to_set_a_password_stores_its_hash_and_when(self, user: User) -> None:
        set_password(user, GOOD)

        assert user.password_hash is not None
        assert user.password_changed_at is not None
        assert GOOD not in user.password_hash
        with hashing() as hasher:
            assert hasher.verify(user.password_hash, GOOD)

    def test_a_refused_password_changes_nothing(self, user: User) -> None:
        with pytest.raises(PasswordTooCommon):
            set_password(user, "password1234")

        assert user.password_hash is None

    def test_what_can_be_read_has_at_most_1024_characters(self) -> None:
        assert is_readable("x" * 1024)
        assert not is_readable("x" * 1025)
