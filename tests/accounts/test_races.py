"""Users whom several people change at the same time, on both databases."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import httpx
import pytest

from circdesk.accounts import cards
from tests.people import ADMIN_ID

# Of what goes wrong at one time in ten, a test like this sees nearly all.
_ROUNDS = 20

Send = Callable[[], httpx.Response]


def at_once(*calls: Send) -> list[httpx.Response]:
    """The answers to calls that all begin in the same moment."""
    barrier = Barrier(len(calls))

    def send(call: Send) -> httpx.Response:
        barrier.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(send, calls))


def statuses(answers: Sequence[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def test_two_admins_who_demote_each_other_leave_one(admin: httpx.Client, caller: Any) -> None:
    second = admin.post("/api/users", json={"name": "Second", "role": "admin"}).json()
    other = caller(second["id"], "users:read", "users:write", "roles:write")
    for _ in range(_ROUNDS):
        # Either of them may stay; who does makes the other one an administrator again.
        answers = at_once(
            lambda: admin.patch(f"/api/users/{second['id']}", json={"role": "librarian"}),
            lambda: other.patch(f"/api/users/{ADMIN_ID}", json={"role": "librarian"}),
        )

        # The loser hears that nobody would be left, or that it may do no such thing any more.
        assert statuses(answers)[0] == 200
        assert statuses(answers)[1] in {403, 409}
        stays, gone = (admin, second["id"]) if answers[0].is_success else (other, ADMIN_ID)
        admins = stays.get("/api/users?role=admin").json()["items"]
        assert len(admins) == 1
        assert stays.patch(f"/api/users/{gone}", json={"role": "admin"}).is_success


def test_one_of_many_gets_an_email_address(admin: httpx.Client) -> None:
    for number in range(_ROUNDS // 4):
        body = {"name": "Grace", "email": f"grace-{number}@example.org"}
        answers = at_once(*[partial(admin.post, "/api/users", json=body)] * 4)

        assert statuses(answers) == [201, 409, 409, 409]
        codes = {answer.json()["code"] for answer in answers if not answer.is_success}
        assert codes == {"email_taken"}


def test_one_of_many_gets_a_card_number(admin: httpx.Client) -> None:
    for number in range(_ROUNDS // 4):
        body = {"name": "Grace", "card_number": f"3000{number}"}
        answers = at_once(*[partial(admin.post, "/api/users", json=body)] * 4)

        assert statuses(answers) == [201, 409, 409, 409]
        codes = {answer.json()["code"] for answer in answers if not answer.is_success}
        assert codes == {"card_number_taken"}


def test_cards_that_the_service_chooses_are_never_the_same(
    admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of so few numbers each is drawn by several at once, and again when it is taken.
    monkeypatch.setattr(cards, "_SPAN", 3)
    given: list[str] = []
    while len(given) < 3:
        for answer in at_once(*[partial(admin.post, "/api/users", json={"name": "Grace"})] * 4):
            assert answer.status_code in {201, 503}
            if answer.is_success:
                given.append(answer.json()["card_number"])
            else:
                assert answer.json()["code"] == "database_busy"
                assert answer.headers["Retry-After"] == "1"

    assert sorted(given) == ["10000000", "10000001", "10000002"]
