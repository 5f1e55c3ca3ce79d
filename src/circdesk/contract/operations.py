"""Operations: what each takes, checks, and may answer, as `compiling.py` has found it once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from circdesk.contract.parameters import Defaults, Faults, Parameters, split_query
from circdesk.contract.problems import fault
from circdesk.contract.schemas import Check, json_pointer

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Body:
    """The body that an operation takes: JSON, checked whole, or bytes, streamed to the handler."""

    checks: Mapping[str, Check | None]
    required: bool
    defaults: Mapping[str, Defaults]
    parsers: Mapping[str, Mapping[str, Callable[[str], Any]]]

    def read(self, media_type: str, value: Any, faults: Faults) -> Any:
        """The checked value; its own members have their defaults and their formats parsed.

        What is nested deeper stays as it was sent.
        """
        check = self.checks[media_type]
        if check is None:
            return value
        if not check.is_valid(value):
            faults += [fault("body", *violation) for violation in check.violations(value)]
            return value
        if not isinstance(value, dict):
            return value
        value = self.defaults[media_type].fill(value)
        for name, parse in self.parsers[media_type].items():
            if isinstance(value.get(name), str):
                value[name] = parse(value[name])
        return value


@dataclass(frozen=True, slots=True)
class Response:
    """One answer that an operation declares: its media types, and the headers it may carry."""

    checks: Mapping[str, Check | None]
    headers: Parameters


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the contract, ready to serve.

    Attributes:
        success: The status of an answer whose handler names none: the first 2xx of the
            contract, or its first status where it has none.
        produces: The media types of its successful answers.
        lenient: Whether its handler reads the request by rules of its own, as OAuth's endpoints
            do; the contract marks it with `x-lenient`.
        segments: The names of the parameters that stand in its path, in their order there.
        safe: Whether it only reads, as GET does (RFC 9110, 9.2.1), and a POST that the contract
            marks with `x-safe`.
        edge: The names of those arguments that are for the edge and not for the handler; the
            contract marks their parameters with `x-edge`.
    """

    operation_id: str
    tag: str
    method: str
    path: str
    segments: tuple[str, ...]
    security: tuple[JSON, ...]
    path_parameters: Parameters
    query: Parameters
    headers: Parameters
    body: Body | None
    responses: Mapping[int, Response]
    success: int
    produces: frozenset[str]
    lenient: bool
    safe: bool
    edge: frozenset[str]

    @property
    def arguments(self) -> frozenset[str]:
        """The names of the arguments that the handler is called with."""
        return frozenset(self.all_arguments) - self.edge

    @property
    def all_arguments(self) -> list[str]:
        """The names of what it takes, those for the edge included, each as often as it is sent."""
        headers = [argument_name(name) for name in self.headers.names]
        body = ["body"] if self.body else []
        return [*self.path_parameters.names, *self.query.names, *headers, *body]

    def read_parameters(
        self,
        segments: Mapping[str, list[str]],
        query: bytes,
        headers: Mapping[bytes, bytes],
        faults: Faults,
    ) -> dict[str, Any]:
        """The handler's arguments but for the body; every fault is added to `faults`."""
        arguments = self.path_parameters.read(segments, faults) if self.segments else {}
        if query or self.query.names:
            arguments |= self.query.read(split_query(query, faults) if query else {}, faults)
        if self.headers.names:
            found = self.headers.read_headers(headers, faults)
            named = {argument_name(name): value for name, value in found.items()}
            if query:
                faults += _contradictions(found, arguments)
            # What can be sent in either place was not sent in this one where it is None here.
            arguments |= {n: v for n, v in named.items() if v is not None or n not in arguments}
        return arguments


def _contradictions(headers: JSON, arguments: JSON) -> Faults:
    """The faults of what was sent in two places and is not the same in both."""
    message = "the query parameter of that name says something else"
    return [
        fault("header", json_pointer([name]), "contradiction", message)
        for name, value in headers.items()
        if value is not None and arguments.get(argument_name(name)) not in (None, value)
    ]


@cache
def argument_name(header: str) -> str:
    """The Python name of a header: `Idempotency-Key` becomes `idempotency_key`."""
    return header.lower().replace("-", "_")
