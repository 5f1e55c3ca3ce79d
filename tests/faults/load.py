"""Callers who call without end, each on a connection of its own, and what they were told."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from threading import Event
from typing import Any

import httpx

JSON = dict[str, Any]
# One caller: what it does next, again and again.
Step = Callable[[httpx.Client, Random], httpx.Response]

_PAUSE_SECONDS = 0.005
_PATIENCE = 120


@dataclass(frozen=True)
class Answer:
    """An answer, by when it was asked for, and how long it took, in seconds."""

    asked_at: float
    seconds: float
    response: httpx.Response

    @property
    def status(self) -> int:
        """Its HTTP status."""
        return self.response.status_code


@dataclass
class Load:
    """Callers of one process.

    Attributes:
        answers: In the order in which they came.
    """

    url: str
    answers: list[Answer] = field(default_factory=list)
    _over: Event = field(default_factory=Event)

    @contextmanager
    def of(self, steps: Sequence[Step], headers: Sequence[dict[str, str]]) -> Iterator[None]:
        """Let one caller for each step call for as long as the block lasts; none may break off."""
        with ThreadPoolExecutor(len(steps)) as pool:
            calling = [
                pool.submit(self._call, step, of, Random(number))
                for number, (step, of) in enumerate(zip(steps, headers, strict=True))
            ]
            try:
                yield
            finally:
                self._over.set()
                for each in calling:
                    each.result(_PATIENCE)

    def since(self, moment: float) -> list[Answer]:
        """What was asked for after this moment of `time.monotonic`."""
        return [answer for answer in [*self.answers] if answer.asked_at > moment]

    def _call(self, step: Step, headers: dict[str, str], random: Random) -> None:
        with httpx.Client(base_url=self.url, headers=headers, timeout=60) as client:
            while not self._over.wait(_PAUSE_SECONDS):
                asked_at = time.monotonic()
                response = step(client, random)
                took = time.monotonic() - asked_at
                self.answers.append(Answer(asked_at, took, response))


def assert_told_to_come_again(response: httpx.Response) -> None:
    """A 503 in our own form, with a time to come again."""
    assert response.status_code == 503, f"{response.status_code} {response.text}"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) > 0
