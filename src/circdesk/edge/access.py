"""The access line: one for each request, whatever became of it, and what is counted of it."""

from starlette.types import Scope

from circdesk.contract.environ import CALLER, OPERATION, ROUTE
from circdesk.edge.logs import log_request
from circdesk.edge.metrics import end_request
from circdesk.edge.request_ids import Ids
from circdesk.visits import Caller

# What no operation, page or document answers goes by this name.
_NOTHING = "none"


def record(scope: Scope, ids: Ids, *, status: int, size: int, seconds: float) -> None:
    """Log and count a request that has ended.

    The line has the template of the path and never the path itself, in which ids and natural keys
    of people stand.

    Args:
        scope: The request, with what the door and the authenticator have found out.
        ids: Its ids.
        status: The status of the answer; 0 where the caller went before there was one.
        size: Bytes of the body that were handed on.
        seconds: How long it took.
    """
    operation = scope.get(OPERATION)
    end_request(operation or _NOTHING, status, seconds)
    caller: Caller | None = scope.get(CALLER)
    kind, caller_id = _who(caller) if caller else ("anonymous", None)
    log_request(
        {
            **ids,
            "method": scope["method"],
            "route": scope.get(ROUTE),
            "operation": operation,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "bytes": size,
            "caller": kind,
            "caller_id": caller_id,
            "credential": caller.credential if caller else None,
            "client": scope["client"][0] if scope.get("client") else None,
        }
    )


def _who(caller: Caller) -> tuple[str, str]:
    if caller.user_id is not None:
        return "user", str(caller.user_id)
    return "client", str(caller.client_id)
