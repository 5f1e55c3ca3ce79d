"""What a caller could do: every operation, and the scopes that are missing for it."""

from collections.abc import Iterable
from typing import Any

from circdesk.auth.credentials import missing_scopes, required_scopes
from circdesk.contract.operations import Operation
from circdesk.visits import Caller

JSON = dict[str, Any]


def list_capabilities(operations: Iterable[Operation], caller: Caller | None) -> list[JSON]:
    """Whether the caller, or an anonymous one, may call each operation."""
    return [_capability(operation, caller) for operation in operations]


def _capability(operation: Operation, caller: Caller | None) -> JSON:
    alternatives = required_scopes(operation.security)
    if not operation.security or {} in operation.security:
        missing, allowed = [], True
    elif caller is None:
        missing, allowed = missing_scopes(alternatives), False
    elif not alternatives:
        # What names no scope is the business of a browser's own session.
        missing, allowed = [], caller.credential == "session"
    else:
        missing = missing_scopes(alternatives, caller.scopes)
        allowed = not missing
    return {
        "operation_id": operation.operation_id,
        "allowed": allowed,
        "missing_scopes": missing,
    }
