"""Caching: for how long an answer is good, who may keep it, and the answers kept here.

Answers of reading operations that everybody may call, and that are the same for everybody, are
kept in this service: finished, so that a hit costs neither database nor handler nor check. They
are good for as long as nothing that they depend on has changed (see `circdesk.db.generations`) and
their lifetime is not over. The same lifetime is told to browsers and shared caches (RFC 9111),
which hear of no change.
"""

import hashlib
from dataclasses import replace

import orjson
from starlette.types import Scope

from circdesk.contract.answers import Answer
from circdesk.contract.application import MakeView, View
from circdesk.contract.contract import Contract
from circdesk.contract.documents import ContractError
from circdesk.contract.door import Call
from circdesk.contract.entity_tags import lists_entity_tag
from circdesk.contract.environ import CALL, Environ, request_uri
from circdesk.contract.handlers import Handler
from circdesk.contract.operations import Operation
from circdesk.db.generations import Generations
from circdesk.edge.flights import Flights
from circdesk.edge.kept import Kept, KeptAnswers, kept_from
from circdesk.edge.lifetimes import LIFETIMES, Lifetime
from circdesk.edge.metrics import count_cache
from circdesk.edge.reads import KEEPING
from circdesk.visits import Visit

# Who asks for what another is making right now waits so long for it, and then makes it, too.
_PATIENCE_SECONDS = 2.0

# A caller may see an answer of another only after asking whether it is still good.
_PRIVATE = "private, no-cache"
_NO_STORE = "no-store"
# The argument for the edge in which a caller names what it has.
_CONDITION = "if_none_match"
# Where credentials are taken, they are part of what the answer depends on.
_CREDENTIALS = "Authorization, X-API-Key, Cookie"


class Caching:
    """Puts around views what they need to be cached, here and elsewhere.

    Args:
        kept: The answers that are kept here.
        generations: Those of the database.
        contract: What `LIFETIMES` is held against.

    Raises:
        ContractError: `LIFETIMES` names what is no operation, or one that not everybody may call.
    """

    def __init__(self, kept: KeptAnswers, generations: Generations, contract: Contract) -> None:
        _raise_if_not_public(contract)
        self._kept = kept
        self._generations = generations
        self._flights: Flights[Kept] = Flights()
        # Another release may answer the same question otherwise.
        self._release = hashlib.sha256(orjson.dumps(contract.document)).hexdigest()

    def around(self, make_view: MakeView) -> MakeView:
        """The same views, with headers for caches; those of `LIFETIMES` ask here first."""

        def make(operation: Operation, handler: Handler) -> View:
            view = make_view(operation, handler)
            lifetime = LIFETIMES.get(operation.operation_id)
            if operation.method != "GET":
                return view

            def described(environ: Environ) -> Answer:
                if lifetime is not None and lifetime.resources:
                    answer = self._ask(operation, lifetime, view, environ)
                else:
                    answer = view(environ)
                return _described(operation, lifetime, environ[CALL].visit, answer)

            return described

        return make

    def find(self, call: Call, scope: Scope) -> Answer | None:
        """The answer that is kept for a request, if there is one.

        Nothing is counted where there is none: whoever runs the view asks again.
        """
        operation = call.operation
        lifetime = LIFETIMES.get(operation.operation_id) if operation else None
        if operation is None or lifetime is None or not lifetime.resources:
            return None
        generations = self._read_generations(lifetime, call)
        if generations is None:
            return None
        key = self._key(operation, request_uri(scope))
        kept = self._kept.find(key, generations, lifetime.seconds)
        if kept is None:
            return None
        count_cache("hit")
        return _described(operation, lifetime, call.visit, _found(kept, call))

    def _ask(
        self, operation: Operation, lifetime: Lifetime, view: View, environ: Environ
    ) -> Answer:
        call: Call = environ[CALL]
        generations = self._read_generations(lifetime, call)
        if generations is None:
            count_cache("passed_by")
            return view(environ)
        key = self._key(operation, environ["REQUEST_URI"])
        kept = self._kept.find(key, generations, lifetime.seconds)
        if kept is not None:
            count_cache("hit")
            return _found(kept, call)
        return self._make(lifetime, key, generations, view, environ)

    def _read_generations(self, lifetime: Lifetime, call: Call) -> str | None:
        """Those of what the answer depends on; None where it is for the view in any case."""
        if _is_for_the_view(call) or self._wants_its_own(call):
            return None
        return self._generations.read(lifetime.depends_on(call.arguments))

    def _wants_its_own(self, call: Call) -> bool:
        """Whether it comes from somebody who may just have changed what it asks for.

        Where processes do not tell each other, only those who change nothing can be answered with
        what this one has kept.
        """
        return call.visit.caller is not None and not self._kept.shared

    def _make(
        self, lifetime: Lifetime, key: str, generations: str, view: View, environ: Environ
    ) -> Answer:
        """The answer that is not kept yet, made here or by whoever is making it already."""
        call: Call = environ[CALL]
        with self._flights.lead((key, generations)) as (flight, leads):
            # Whoever was making it may have ended since we asked.
            kept = (
                self._kept.find(key, generations, lifetime.seconds)
                if leads
                else flight.wait(_PATIENCE_SECONDS)
            )
            count_cache("miss" if kept is None else "hit")
            if kept is not None:
                flight.result = kept
                return _found(kept, call)
            answer = _whole(view, environ)
            made = kept_from(answer, generations)
            if made is None:
                return answer
            if leads:
                flight.result = made
            self._kept.keep(key, made, lifetime.seconds)
        return _not_modified(made, call) or answer

    def _key(self, operation: Operation, address: str) -> str:
        # The address as it was sent: the links of a list repeat it, byte by byte.
        text = f"{self._release} {operation.operation_id} {address}"
        return hashlib.sha256(text.encode()).hexdigest()


def _raise_if_not_public(contract: Contract) -> None:
    for name in LIFETIMES:
        operation = contract.operations.get(name)
        if operation is None:
            raise ContractError(f"{name} has a lifetime and is no operation")
        if operation.method != "GET" or (operation.security and {} not in operation.security):
            raise ContractError(f"{name} has a lifetime and is not for everybody to read")


def _is_for_the_view(call: Call) -> bool:
    """Whether the request is of a rare kind, which what is kept has no answer to."""
    since = call.edge.get("if_modified_since") is not None and call.edge.get(_CONDITION) is None
    # An answer that clears a cookie is for one caller alone.
    return since or call.visit.stale_session


def _whole(view: View, environ: Environ) -> Answer:
    """The whole answer, which can be kept, also for a caller who has it already."""
    environ[KEEPING] = True
    call: Call = environ[CALL]
    if call.edge.get(_CONDITION) is None:
        return view(environ)
    environ[CALL] = replace(call, edge={**call.edge, _CONDITION: None})
    try:
        return view(environ)
    finally:
        environ[CALL] = call


def _found(kept: Kept, call: Call) -> Answer:
    age = {"Age": str(kept.age)}
    not_modified = _not_modified(kept, call)
    if not_modified is not None:
        return not_modified.with_headers(age)
    return Answer(200, kept.media_type, kept.body, {**kept.headers, **age})


def _not_modified(kept: Kept, call: Call) -> Answer | None:
    """A 304, where the caller has this very answer."""
    entity_tag, listed = kept.headers.get("ETag"), call.edge.get(_CONDITION)
    if entity_tag is None or listed is None or not lists_entity_tag(listed, entity_tag):
        return None
    return Answer(304, None, b"", {"ETag": entity_tag})


def _described(
    operation: Operation, lifetime: Lifetime | None, visit: Visit, answer: Answer
) -> Answer:
    """The answer, and for how long whom it is good; what it says about it itself stays."""
    if answer.status not in (200, 304):
        return answer
    headers = {"Vary": _CREDENTIALS} if operation.security else {}
    if not answer.has_header("Cache-Control"):
        headers["Cache-Control"] = _cache_control(operation, lifetime, visit)
    return answer.with_headers(headers)


def _cache_control(operation: Operation, lifetime: Lifetime | None, visit: Visit) -> str:
    anonymous = visit.caller is None and not visit.stale_session
    if lifetime is not None and (anonymous or not operation.security):
        return f"public, max-age={lifetime.seconds}"
    return _PRIVATE if operation.security else _NO_STORE
