"""What must never be told: every secret that a test run makes or uses, and where it was seen.

`tests/conftest.py` lets the service's own functions tell of each secret that they make, and looks
for it in all that the service writes: standard output and error, the logs, and problems.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from circdesk.auth.passwords import Hasher
from circdesk.auth.tokens import AccessTokens
from circdesk.contract.problems import Problem

# What is shorter stands in other words by chance.
_SHORTEST = 10


class Secrets:
    """Secrets, and problems that told one of them."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._told: list[str] = []

    def learn(self, secret: str) -> None:
        """Know from now on that this is a secret."""
        if len(secret) >= _SHORTEST:
            self._known.add(secret)

    def find(self, text: str) -> list[str]:
        """The secrets that the text tells, in part, so that this report does not tell them too."""
        return sorted(f"{secret[:6]}…" for secret in list(self._known) if secret in text)

    def watch(self, problem: str) -> None:
        """Note what a problem tells."""
        self._told += self.find(problem)

    def told(self) -> list[str]:
        """What problems have told since this was last asked."""
        told, self._told = self._told, []
        return told


SECRETS = Secrets()


@contextmanager
def learning(known: Secrets) -> Iterator[None]:
    """Learn every secret that is made, set or tried in this process during the block."""
    with pytest.MonkeyPatch.context() as patch:
        random = _learning(secrets.token_urlsafe, known, lambda value: [value])
        # Its name in the one module that makes secrets, so that nobody else's are taken for them.
        patch.setattr("circdesk.auth.secrets.secrets", SimpleNamespace(token_urlsafe=random))
        issue = _learning(AccessTokens.issue, known, lambda issued: [issued[0]])
        patch.setattr(AccessTokens, "issue", issue)
        patch.setattr(Hasher, "hash", _learning(Hasher.hash, known, lambda stored: [stored]))
        patch.setattr(Hasher, "verify", _learning(Hasher.verify, known, lambda _: []))
        patch.setattr(Problem, "body", _watching(Problem.body, known))
        yield


def _learning(
    function: Callable[..., Any], known: Secrets, results: Callable[[Any], list[str]]
) -> Callable[..., Any]:
    """The function, whose results and texts among its arguments are learned."""

    def learn(*arguments: Any, **options: Any) -> Any:
        for argument in arguments:
            if isinstance(argument, str):
                known.learn(argument)
        result = function(*arguments, **options)
        for secret in results(result):
            known.learn(secret)
        return result

    return learn


def _watching(function: Callable[..., Any], known: Secrets) -> Callable[..., Any]:
    def watch(*arguments: Any, **options: Any) -> Any:
        body = function(*arguments, **options)
        known.watch(repr(body))
        return body

    return watch
