"""Where reads are answered: by a replica that has what the caller may expect, else by the primary.

A caller's own write, and whatever was there when it was refused, is in all that this caller reads
from then on. What others have just written may come a moment later, of a replica that is good for
half a minute at most.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from circdesk.contract.answers import Answer
from circdesk.contract.door import Call
from circdesk.contract.environ import CALL, Environ
from circdesk.contract.handlers import Handler
from circdesk.contract.operations import Operation
from circdesk.db.errors import DatabaseUnavailable
from circdesk.db.positions import Positions
from circdesk.db.replica import UNKNOWN, NoReplica, NotReplayed, Replica
from circdesk.edge.metrics import count_read
from circdesk.edge.views import View
from circdesk.visits import Visit, network_of

MakeView = Callable[[Operation, Handler], View]

# Under this key a request says that its answer is going to be kept for others.
KEEPING = "circdesk.keeping"

# Who somebody is, and what they may do, is read where it is written: all other tags.
_TAGS = frozenset(("catalog", "circulation", "news"))
# Whoever asks for the events after one names it, and may have seen it on the primary.
_OF_PRIMARY = frozenset(("list_events",))
# What is written there is shown by none of the operations above.
_APART = frozenset(("auth", "admin"))


class Reads:
    """Puts around views what lets them read from the replica.

    Args:
        replica: The replica.
        positions: Up to where callers have written.
        secret: What the names of callers are hidden with; the same in all processes.
    """

    def __init__(self, replica: Replica, positions: Positions, secret: str) -> None:
        self._replica = replica
        self._positions = positions
        self._secret = hashlib.sha256(secret.encode()).digest()

    def around(self, make_view: MakeView) -> MakeView:
        """The same views; those that read ask the replica first, those that write say so."""

        def make(operation: Operation, handler: Handler) -> View:
            view = make_view(operation, handler)
            if _may_read_elsewhere(operation):
                return lambda environ: self._read(view, environ)
            if operation.safe or operation.tag in _APART:
                return view
            return lambda environ: self._write(view, environ)

        return make

    def _write(self, view: View, environ: Environ) -> Answer:
        """The answer of a view that may write; a refusal may have stored something, too."""
        lost = False
        try:
            return view(environ)
        except DatabaseUnavailable:
            # It may be stored or not, and to ask would be another wait.
            lost = True
            raise
        finally:
            position = UNKNOWN if lost else self._written()
            self._positions.note(self._writers(_visit(environ)), position)

    def _read(self, view: View, environ: Environ) -> Answer:
        answer = self._ask_replica(view, environ)
        count_read("primary" if answer is None else "replica")
        return view(environ) if answer is None else answer

    def _ask_replica(self, view: View, environ: Environ) -> Answer | None:
        """The replica's answer; None where it has none, or not what is expected of it."""
        position = self._expected(environ) if self._replica.is_good() else UNKNOWN
        if position == UNKNOWN:
            return None
        try:
            return view(environ, self._replica.sessions(position))
        except (NotReplayed, NoReplica):
            return None
        except DatabaseUnavailable as problem:
            self._replica.note(problem)
            return None

    def _expected(self, environ: Environ) -> int:
        """The position that the caller may expect to be replayed.

        What is kept is found by those who wrote since, too: it must have all that was there when
        its generations were read.
        """
        if environ.get(KEEPING, False):
            return self._written()
        return self._positions.find(self._readers(_visit(environ)))

    def _written(self) -> int:
        try:
            return self._replica.written()
        except DatabaseUnavailable:
            return UNKNOWN

    def _writers(self, visit: Visit) -> list[str]:
        """Who has written: a user, an application, or both; else the address is all we know."""
        caller = visit.caller
        known = [caller.user_id, caller.client_id] if caller else [network_of(visit.address)]
        return [self._hidden(name) for name in known if name is not None]

    def _readers(self, visit: Visit) -> list[str]:
        """Who may have written: they were anonymous themselves before they signed in."""
        anonymous = self._hidden(network_of(visit.address))
        return [*self._writers(visit), anonymous] if visit.caller else [anonymous]

    def _hidden(self, name: Any) -> str:
        return hashlib.blake2b(str(name).encode(), key=self._secret, digest_size=16).hexdigest()


def _may_read_elsewhere(operation: Operation) -> bool:
    """Whether it may be answered by a replica, and once more by the primary if that fails.

    A stream that has begun cannot begin again. Decisions are asked for before somebody acts, with
    a POST.
    """
    whole = operation.produces == {"application/json"}
    named = operation.tag in _TAGS and operation.operation_id not in _OF_PRIMARY
    return operation.method == "GET" and whole and named


def _visit(environ: Environ) -> Visit:
    call: Call = environ[CALL]
    visit: Visit = call.visit
    return visit
