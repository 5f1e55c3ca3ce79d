"""The one router: it walks the raw path, so that no other reading of a path can disagree.

The path is split at its slashes first and each segment is decoded after that, so an encoded
slash is part of an identifier. Literal segments win over parameters (OpenAPI 3.0.3, 4.7.8.2),
also where some of their characters are percent-encoded (RFC 3986, 6.2.2.2).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from circdesk.contract.parameters import decode

Target = TypeVar("Target")


class Match(NamedTuple, Generic[Target]):
    """What stands at a path: a target for each method, and the parameters' raw segments."""

    methods: dict[str, Target]
    segments: tuple[str, ...]


@dataclass(slots=True)
class _Node(Generic[Target]):
    literals: dict[str, "_Node[Target]"] = field(default_factory=dict)
    parameter: "_Node[Target] | None" = None
    methods: dict[str, Target] = field(default_factory=dict)


class Router(Generic[Target]):
    """A tree of path segments.

    Raises:
        ValueError: Two routes answer the same method of the same path, or a segment of a
            template is a parameter only in part.
    """

    def __init__(self, routes: Iterable[tuple[str, str, Target]]) -> None:
        self._root: _Node[Target] = _Node()
        # Paths without parameters need no walk.
        self._literal: dict[str, Match[Target]] = {}
        for method, template, target in routes:
            self._add(method, template, target)

    def _add(self, method: str, template: str, target: Target) -> None:
        node = self._root
        for segment in template.split("/")[1:]:
            if segment.startswith("{") and segment.endswith("}"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            elif "{" in segment:
                raise ValueError(f"{template}: {segment} is a parameter only in part")
            else:
                node = node.literals.setdefault(segment, _Node())
        if method in node.methods:
            raise ValueError(f"{template}: another route answers {method} there")
        node.methods[method] = target
        if "{" not in template:
            self._literal[template] = Match(node.methods, ())

    def find(self, raw_path: str) -> Match[Target] | None:
        """What stands at this path, still percent-encoded; None where nothing does."""
        found = self._literal.get(raw_path)
        if found is None and raw_path.startswith("/"):
            found = _walk(self._root, raw_path.split("/")[1:], ())
        return found


def _walk(node: _Node[Target], segments: list[str], raw: tuple[str, ...]) -> Match[Target] | None:
    for position, segment in enumerate(segments, start=1):
        literal = node.literals.get(_decoded(segment) if "%" in segment else segment)
        # An empty segment is a doubled or a trailing slash, never an identifier.
        parameter = node.parameter if segment else None
        if literal is not None and parameter is not None:
            rest = segments[position:]
            return _walk(literal, rest, raw) or _walk(parameter, rest, (*raw, segment))
        if literal is not None:
            node = literal
        elif parameter is not None:
            node, raw = parameter, (*raw, segment)
        else:
            return None
    return Match(node.methods, raw) if node.methods else None


def _decoded(segment: str) -> str:
    """The segment as the template would spell it; as it is where it cannot be decoded."""
    try:
        return decode(segment)
    except ValueError:
        return segment
