"""Where rules are registered, and the run of all of them over one document."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from circdesk.contract.rules.reading import JSON, Reading

# What a rule yields: the place, and what is wrong there.
Findings = Iterator[tuple[str, str]]
Check = Callable[[Reading], Findings]


class Finding(NamedTuple):
    """One breach: the rule's name, a JSON pointer or `operationId <name>`, and what is wrong."""

    rule: str
    place: str
    message: str


class Rule(NamedTuple):
    """A rule: its name, the rule itself as one sentence, and the function that checks it."""

    name: str
    sentence: str
    check: Check


RULES: list[Rule] = []


def rule(check: Check) -> Check:
    """Register a check; its name is the rule's name, its docstring's first line the rule."""
    sentence = (check.__doc__ or "").partition("\n")[0]
    RULES.append(Rule(check.__name__, sentence, check))
    return check


def lint(document: JSON) -> list[Finding]:
    """Every breach of every rule in a bundled, valid document; an empty list is a clean one."""
    reading = Reading(document)
    return [
        Finding(each.name, place, message)
        for each in RULES
        for place, message in each.check(reading)
    ]
