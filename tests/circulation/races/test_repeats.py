"""Requests that are repeated with one key on four processes, one of which may be killed meanwhile.

`TEST_LONG=1` asks ten times as often.
"""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import func, select

from circdesk.circulation.models import Fee
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.edge.models import IdempotencyKey
from tests.circulation.races.desk import LONG, Check, Desk, statuses
from tests.circulation.races.service import MOST_CALLERS, PATIENCE, PROCESSES, Call, is_clean

JSON = dict[str, Any]

ROUNDS = 50 if LONG else 5
KILLS = 120 if LONG else 12
CALLERS = 6
# How long a process lives at least, and at most.
SHORTEST_SECONDS, LONGEST_SECONDS = 0.05, 0.25


def keyed(call: Call, key: str) -> Call:
    return Call(call.method, call.path, {**call.headers, "Idempotency-Key": key}, call.json)


def charge(desk: Desk, user: UUID, reason: str) -> Call:
    """A fee that stands there twice where it is charged twice, under the key of its reason."""
    fee = {"user": str(user), "amount": "1.50", "reason": reason}
    return keyed(desk.post("/api/fees", fee), reason)


def fees(sessions: Sessions) -> Counter[str]:
    """How often each reason was charged for."""
    with unit_of_work(sessions, writing=False) as session:
        return Counter(session.scalars(select(Fee.reason)))


@contextmanager
def send_and_forget(desk: Desk, call: Call, slot: int) -> Iterator[None]:
    """Send a request to one of the processes, and read nothing."""
    body = json.dumps(call.json).encode()
    head = {"Host": "desk", "Content-Type": "application/json", "Content-Length": len(body)}
    lines = [f"{name}: {value}" for name, value in {**head, **call.headers}.items()]
    url = desk.service.client(slot).base_url
    with socket.create_connection((url.host, url.port)) as connection:
        request = "\r\n".join([f"{call.method} {call.path} HTTP/1.1", *lines, "", ""])
        connection.sendall(request.encode() + body)
        yield


def wait_for_fees(sessions: Sessions, number: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(fees(sessions)) < number:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def is_replayed(answer: httpx.Response) -> bool:
    return "Idempotent-Replayed" in answer.headers


def test_of_fifty_at_once_with_one_key_one_is_carried_out(
    desk: Desk, sessions: Sessions, check_invariants: Check
) -> None:
    desk.library.policy()
    user = desk.library.user()
    for _ in range(ROUNDS):
        call = charge(desk, user, str(uuid4()))

        answers = desk.service.at_once([call] * MOST_CALLERS)

        done = [answer for answer in answers if answer.is_success]
        waiting = [answer for answer in answers if not answer.is_success]
        assert len([answer for answer in done if not is_replayed(answer)]) == 1
        assert len({answer.content for answer in done}) == 1
        assert {answer.json()["code"] for answer in waiting} <= {"request_in_progress"}
        assert all(answer.headers["Retry-After"] == "1" for answer in waiting)
        again = desk.service.send(call)
        assert (again.content, is_replayed(again)) == (done[0].content, True)
    assert set(fees(sessions).values()) == {1}
    check_invariants(written_down=True)


def test_of_many_check_outs_of_one_copy_with_one_key_each_gets_the_loan(
    desk: Desk, check_invariants: Check
) -> None:
    """Without a key all but one would be told that the copy is on loan."""
    desk.library.policy()
    user = desk.library.user()
    for _ in range(ROUNDS):
        call = keyed(desk.check_out(user, desk.copy()), str(uuid4()))
        answers = desk.service.at_once([call] * 8)

        assert {*statuses(answers)} <= {201, 409}
        again = [desk.service.send(call, slot) for slot in range(PROCESSES)]
        assert statuses(again) == {201: PROCESSES}
        assert len({answer.json()["loan"]["id"] for answer in again}) == 1
        check_invariants(written_down=True)


def test_killed_between_the_effect_and_the_answer_it_is_answered_by_another_process(
    desk: Desk, sessions: Sessions
) -> None:
    user = desk.library.user()
    for slot in range(PROCESSES):
        call = charge(desk, user, str(uuid4()))
        # Nobody reads what this one is answered.
        with send_and_forget(desk, call, slot):
            wait_for_fees(sessions, slot + 1)
            desk.service.kill(slot)

        answer = desk.service.send(call, slot + 1)

        assert (answer.status_code, is_replayed(answer)) == (201, True)
        assert fees(sessions)[call.headers["Idempotency-Key"]] == 1


def test_killed_in_whatever_it_does_a_request_is_carried_out_once(
    desk: Desk, sessions: Sessions, check_invariants: Check
) -> None:
    users, over, random = [desk.library.user() for _ in range(CALLERS)], Event(), Random(20260105)
    with ThreadPoolExecutor(CALLERS) as pool:
        calling = [pool.submit(call_on, desk, user, over) for user in users]
        for number in range(KILLS):
            time.sleep(random.uniform(SHORTEST_SECONDS, LONGEST_SECONDS))
            desk.service.kill(number % PROCESSES)
        over.set()
        answered: dict[str, str] = {}
        lost = 0
        for each in calling:
            told, repeated = each.result(PATIENCE)
            answered |= told
            lost += repeated

    assert lost > 0
    assert fees(sessions) == dict.fromkeys(answered, 1)
    with unit_of_work(sessions, writing=False) as session:
        stored = {str(fee): reason for fee, reason in session.execute(select(Fee.id, Fee.reason))}
        kept = session.scalar(select(func.count()).select_from(IdempotencyKey))
    # Each caller was told of the fee that is there.
    assert {reason: fee for fee, reason in stored.items()} == answered
    assert kept == len(answered)
    check_invariants(written_down=True)


def call_on(desk: Desk, user: UUID, over: Event) -> tuple[dict[str, str], int]:
    """Charge one fee after the other, each until it is answered.

    Answers the id of the fee by its reason, and how many answers were lost.
    """
    answered, lost, slot = {}, 0, user.int
    while not over.is_set():
        call, answer = charge(desk, user, str(uuid4())), None
        deadline = time.monotonic() + PATIENCE
        while answer is None or not answer.is_success:
            assert time.monotonic() < deadline, desk.service.log()[-4000:]
            slot += 1
            try:
                answer = desk.service.send(call, slot)
            except httpx.TransportError:
                lost += 1
                continue
            assert is_clean(answer), f"{answer.text}\n{desk.service.log()[-4000:]}"
        answered[call.headers["Idempotency-Key"]] = answer.json()["fee"]["id"]
    return answered, lost
