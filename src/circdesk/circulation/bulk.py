"""Bulk calls: many actions of one kind in one request, each with an outcome of its own."""

from typing import Any

from circdesk.contract.problems import Problem
from circdesk.visits import find_visit

JSON = dict[str, Any]


def done(subject: JSON, result: JSON) -> JSON:
    """The outcome of an action that was carried out.

    Args:
        subject: What it was about, as the caller named it.
        result: What the call for this one alone would have answered.
    """
    return {**subject, "status": 200, "result": result, "problem": None}


def refused(subject: JSON, problem: Problem, instance: str) -> JSON:
    """The outcome of an action that was refused, and changed nothing.

    Args:
        subject: What it was about, as the caller named it.
        problem: What the call for this one alone would have answered.
        instance: The path of the bulk call.
    """
    visit = find_visit()
    body = problem.body(instance=instance, request_id="none" if visit is None else visit.request_id)
    return {**subject, "status": problem.status, "result": None, "problem": body}
