"""Many callers who do whatever comes to their minds with the same few copies, all at once."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

import httpx

from tests.circulation.races.desk import Desk
from tests.circulation.races.service import PATIENCE, PROCESSES, Call, is_clean

JSON = dict[str, Any]

_USERS = 6
_TITLES = 4
_COPIES_EACH = 2
_FEE = "1.50"
# How often a caller goes on with what was done, instead of something new.
_FOLLOWED = 0.4


@dataclass
class Storm:
    """Callers at a desk, and what they were told.

    Args:
        desk: With one rule at least.
        seed: Of what they choose; what comes of it depends on who is first.
        done: Answers to what succeeded.
        refused: How much was refused.
        lost: What was never answered, because the process was killed.
        unclean: Answers that nobody should ever get; the first one ends the storm.
    """

    desk: Desk
    seed: int
    done: list[JSON] = field(default_factory=list)
    refused: int = 0
    lost: list[Call] = field(default_factory=list)
    unclean: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        library, branch = self.desk.library, self.desk.branch
        self._users = [library.user() for _ in range(_USERS)]
        self._books = [library.book() for _ in range(_TITLES)]
        self._copies = [
            library.copy(book, branch) for book in self._books for _ in range(_COPIES_EACH)
        ]
        self._calls = count()
        self._answers = [0] * PROCESSES
        self._is_over = False

    @contextmanager
    def blowing(self, callers: int) -> Iterator[None]:
        """Let so many call, one call after the other each, for as long as the block lasts."""
        with ThreadPoolExecutor(callers) as pool:
            calling = [pool.submit(self._call, Random(f"{self.seed}-{n}")) for n in range(callers)]
            try:
                yield
            finally:
                self._is_over = True
                _raise_what_went_wrong(calling)

    def wait_for_answers(self, slot: int, number: int) -> None:
        """Wait until this process has answered so many more calls, or the storm is over."""
        enough = self._answers[slot] + number
        deadline = time.monotonic() + PATIENCE
        while self._answers[slot] < enough and not self._is_over:
            assert time.monotonic() < deadline, self.desk.service.log()[-4000:]
            time.sleep(0.002)

    def events(self) -> list[UUID]:
        """The events of what succeeded, and of which nothing may be lost."""
        ways_back = (answer.get("compensation") for answer in [*self.done])
        return [UUID(way["parameters"]["event_id"]) for way in ways_back if way]

    def _call(self, random: Random) -> None:
        try:
            while not self._is_over:
                self._send(self._choose(random))
        finally:
            # Without one of them it is not the storm that it should be.
            self._is_over = True

    def _send(self, call: Call) -> None:
        slot = next(self._calls) % PROCESSES
        try:
            answer = self.desk.service.send(call, slot)
        except httpx.TransportError:
            self.lost.append(call)
            return
        if answer.is_success:
            self.done.append(answer.json())
        elif is_clean(answer):
            self.refused += 1
        else:
            self.unclean.append(f"{call.method} {call.path}: {answer.status_code} {answer.text}")
            self._is_over = True
        self._answers[slot] += 1

    def _choose(self, random: Random) -> Call:
        # What was answered not long ago is most likely still so.
        recent = self.done[-20:]
        if recent and random.random() < _FOLLOWED:
            call = self._follow(random.choice(recent), random)
            if call is not None:
                return call
        return self._begin(random)

    def _begin(self, random: Random) -> Call:
        """A call that might be somebody's first one."""
        desk, user, copy = self.desk, random.choice(self._users), random.choice(self._copies)
        copies = [str(each) for each in random.sample(self._copies, 4)]
        calls = [
            desk.check_out(user, copy),
            desk.check_out(user, copy),
            desk.return_(copy),
            desk.hold(user, random.choice(self._books)),
            desk.post("/api/fees", {"user": str(user), "amount": _FEE, "reason": "Coffee"}),
            desk.post("/api/bulk-returns", {"copies": copies}),
        ]
        return random.choice(calls)

    def _follow(self, answer: JSON, random: Random) -> Call | None:
        """A call that makes something of what was done before."""
        desk, calls = self.desk, []
        if answer.get("compensation"):
            calls.append(desk.undo(answer))
        if answer.get("loan"):
            calls.append(desk.post(f"/api/loans/{answer['loan']['id']}/losses"))
        if answer.get("hold"):
            calls.append(desk.cancel(answer["hold"]["id"]))
        if "entry" in answer:
            calls.append(desk.pay(answer["fee"]["id"], random.choice(["0.50", _FEE])))
        return random.choice(calls) if calls else None


def _raise_what_went_wrong(calling: list[Future[None]]) -> None:
    for each in calling:
        each.result(PATIENCE)
