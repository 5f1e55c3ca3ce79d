"""Caching: for how long an answer is good, who may keep it, and the answers kept here.

Answers of reading operations that everybody may call, and that are the same for everybody, are
kept in this service: finished, so that a hit costs neither database nor handler nor check. They
are good for as long as nothing that they depend on has changed (see `circdesk.db.generations`) and
their lifetime is not over. The same lifetime is told to browsers and shared caches (RFC 9111),
which hear of no change.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from typing import NamedTuple

import orjson
from starlette.types import Scope

from circdesk.contract.answers import Answer, raw_header_fields
from circdesk.contract.application import MakeView, View
from circdesk.contract.contract import Contract
from circdesk.contract.documents import ContractError
from circdesk.contract.door import Call
from circdesk.contract.entity_tags import lists_entity_tag
from circdesk.contract.environ import CALL, Environ, request_uri
from circdesk.contract.handlers import Handler
from circdesk.contract.headers import RawHeader
from circdesk.contract.operations import Operation
from circdesk.db.generations import Generations
from circdesk.edge.flights import Flights
from circdesk.edge.kept import Kept, KeptAnswers, Ready, kept_from, memory_seconds
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


class Found(NamedTuple):
    """An answer from memory, with the body that GET asks for, and what it was made of."""

    ready: Ready
    status: int
    headers: list[RawHeader]
    body: bytes


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

    def find(self, call: Call, scope: Scope) -> Found | None:
        """What is kept in memory for a request, if anything is.

        Nothing is counted where there is nothing: whoever runs the view asks again.
        """
        operation = call.target
        if not isinstance(operation, Operation):
            return None
        lifetime = LIFETIMES.get(operation.operation_id)
        if lifetime is None or not lifetime.resources or self._is_for_the_view(call):
            return None
        ready = self._kept.find_ready(self._key(operation, request_uri(scope)))
        age = None if ready is None else self.age_of(ready)
        if ready is None or age is None:
            return None
        count_cache("hit")
        if _has(call, ready.kept):
            return Found(ready, 304, [*ready.not_modified, age_header(age)], b"")
        return Found(ready, 200, [*ready.whole, age_header(age)], ready.kept.body)

    def age_of(self, ready: Ready) -> float | None:
        """Seconds since an answer in memory was made; None where it is not good any more."""
        age = self._kept.age_of(ready)
        is_good = ready.kept.generations == self._generations.read(ready.resources)
        return age if is_good else None

    def _ask(
        self, operation: Operation, lifetime: Lifetime, view: View, environ: Environ
    ) -> Answer:
        call: Call = environ[CALL]
        if self._is_for_the_view(call):
            count_cache("passed_by")
            return view(environ)
        began = monotonic()
        resources = lifetime.depends_on(call.arguments)
        generations = self._generations.read(resources)
        if generations is None:
            count_cache("passed_by")
            return view(environ)
        key = self._key(operation, environ["REQUEST_URI"])
        asked = _Asked(operation, lifetime, resources, generations, key, began)
        # In memory it has just been looked for, on the event loop.
        kept = self._find(asked) if self._kept.shared else None
        if kept is not None:
            count_cache("hit")
            return _found(kept, call)
        return self._make(asked, view, environ)

    def _is_for_the_view(self, call: Call) -> bool:
        """Whether what is kept has no answer to a request.

        It is of a rare kind, or comes from somebody who may just have changed what it asks for:
        where processes do not tell each other, only those who change nothing can be answered with
        what this one has kept.
        """
        visit, edge = call.visit, call.edge
        since = edge.get("if_modified_since") is not None and edge.get(_CONDITION) is None
        wants_its_own = visit.caller is not None and not self._kept.shared
        # An answer that clears a cookie is for one caller alone.
        return since or wants_its_own or visit.stale_session

    def _find(self, asked: "_Asked") -> Kept | None:
        return self._kept.find(asked.key, asked.generations, asked.lifetime.seconds)

    def _make(self, asked: "_Asked", view: View, environ: Environ) -> Answer:
        """The answer that is not kept yet, made here or by whoever is making it already."""
        call: Call = environ[CALL]
        with self._flights.lead((asked.key, asked.generations)) as (flight, leads):
            # Whoever was making it may have ended since we asked.
            kept = self._find(asked) if leads else flight.wait(_PATIENCE_SECONDS)
            count_cache("miss" if kept is None else "hit")
            if kept is not None:
                flight.result = kept
                return _found(kept, call)
            answer = _whole(view, environ)
            made = kept_from(answer, asked.generations)
            if made is None:
                return answer
            if leads:
                flight.result = made
            self._keep(asked, made, call.visit)
        return _not_modified(made, call) or answer

    def _keep(self, asked: "_Asked", made: Kept, visit: Visit) -> None:
        if self._kept.shared:
            self._kept.keep(asked.key, made, asked.lifetime.seconds)
        else:
            self._kept.keep_ready(asked.key, _ready(asked, made, visit))

    def _key(self, operation: Operation, address: str) -> str:
        # The address as it was sent: the links of a list repeat it, byte by byte.
        text = f"{self._release} {operation.operation_id} {address}"
        return hashlib.sha256(text.encode()).hexdigest() if self._kept.shared else text


class _Asked(NamedTuple):
    """What is asked for, of which resources in which generations, under which key, and since when.

    `began` is a time of `time.monotonic`, before anything is read.
    """

    operation: Operation
    lifetime: Lifetime
    resources: Sequence[str]
    generations: str
    key: str
    began: float


def age_header(age: float) -> RawHeader:
    """The header that tells how many seconds ago an answer was made (RFC 9111, 5.1)."""
    return b"age", b"%d" % age


def _raise_if_not_public(contract: Contract) -> None:
    for name in LIFETIMES:
        operation = contract.operations.get(name)
        if operation is None:
            raise ContractError(f"{name} has a lifetime and is no operation")
        if operation.method != "GET" or (operation.security and {} not in operation.security):
            raise ContractError(f"{name} has a lifetime and is not for everybody to read")


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
    age = {"Age": str(int(kept.age))}
    not_modified = _not_modified(kept, call)
    if not_modified is not None:
        return not_modified.with_headers(age)
    return _answer(kept).with_headers(age)


def _answer(kept: Kept) -> Answer:
    return Answer(200, kept.media_type, kept.body, kept.headers)


def _not_modified(kept: Kept, call: Call) -> Answer | None:
    """A 304, where the caller has this very answer."""
    return _same(kept) if _has(call, kept) else None


def _same(kept: Kept) -> Answer:
    return Answer(304, None, b"", {"ETag": kept.headers.get("ETag", "")})


def _has(call: Call, kept: Kept) -> bool:
    listed = call.edge.get(_CONDITION)
    if listed is None:
        return False
    entity_tag = kept.headers.get("ETag")
    return entity_tag is not None and lists_entity_tag(listed, entity_tag)


def _ready(asked: _Asked, kept: Kept, visit: Visit) -> Ready:
    """An answer that has just been made for an anonymous caller, ready to leave for others."""
    operation, lifetime, resources, *_, began = asked
    whole, not_modified = (
        raw_header_fields(_described(operation, lifetime, visit, answer))
        for answer in (_answer(kept), _same(kept))
    )
    seconds, longest = memory_seconds(lifetime.seconds)
    return Ready(kept, began, seconds, longest, resources, whole, not_modified)


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
