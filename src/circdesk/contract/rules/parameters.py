"""Rules for paths and parameters."""

import re

from circdesk.contract.rules.exceptions import PATH_KEYS
from circdesk.contract.rules.names import SNAKE_CASE
from circdesk.contract.rules.places import pointer
from circdesk.contract.rules.reading import Reading
from circdesk.contract.rules.registry import Findings, rule

_SEGMENT = re.compile(r"\{[^{}/]+\}|[a-z0-9._-]+")
_IGNORED_HEADERS = frozenset(("accept", "authorization", "content-type"))


@rule
def paths_are_plain(contract: Reading) -> Findings:
    """Paths have no trailing or doubled slash, and lower-case words or one variable between."""
    for path in contract.document["paths"]:
        if path == "/":
            continue
        for segment in path.removeprefix("/").split("/"):
            if not _SEGMENT.fullmatch(segment):
                yield pointer("paths", path), f"the segment {segment!r} is not plain"


@rule
def path_parameters_name_keys(contract: Reading) -> Findings:
    """A path parameter is named `<noun>_id`, or is one of the listed keys."""
    for place, node in contract.parameters:
        name = node["name"]
        if node["in"] == "path" and not name.endswith("_id") and name not in PATH_KEYS:
            yield place, f"{name!r} is neither an id nor a listed key"


@rule
def parameter_names_are_snake_case(contract: Reading) -> Findings:
    """Path and query parameters have names in snake_case."""
    for place, node in contract.parameters:
        if node["in"] in {"path", "query"} and not SNAKE_CASE.fullmatch(node["name"]):
            yield place, f"{node['name']!r} is not snake_case"


@rule
def parameters_are_described(contract: Reading) -> Findings:
    """Every parameter is described in at most 700 characters."""
    for place, node in contract.parameters:
        text = node.get("description", "")
        if not text.strip():
            yield place, "there is no description"
        elif len(text) > 700:
            yield place, f"the description has {len(text)} characters of 700"


@rule
def header_parameters_are_heard(contract: Reading) -> Findings:
    """No header parameter is Accept, Authorization or Content-Type, which OpenAPI ignores."""
    for place, node in contract.parameters:
        if node["in"] == "header" and node["name"].lower() in _IGNORED_HEADERS:
            yield place, f"OpenAPI ignores the header parameter {node['name']}"
