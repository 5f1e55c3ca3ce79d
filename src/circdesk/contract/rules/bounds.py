"""Rules for bounds: nothing that a caller sends or gets is without an end."""

from collections.abc import Iterator

from circdesk.contract.rules.positions import alternatives
from circdesk.contract.rules.reading import JSON, Reading
from circdesk.contract.rules.registry import Findings, rule

# Formats whose texts have a longest one.
_FINITE_FORMATS = frozenset(("date", "date-time", "time-zone", "uuid"))


@rule
def strings_are_bounded(contract: Reading) -> Findings:
    """A string has a maxLength, an enum or a format of limited length."""
    for kind, place, choice in _choices(contract, "string"):
        finite = choice.get("format") in _FINITE_FORMATS or "enum" in choice
        # A whole body is limited by the service, whatever the contract says.
        if kind != "body" and not finite and "maxLength" not in choice:
            yield place, "there is no maxLength"


@rule
def numbers_are_bounded(contract: Reading) -> Findings:
    """A number has a minimum and a maximum."""
    for _, place, choice in _choices(contract, "integer", "number"):
        missing = [bound for bound in ("minimum", "maximum") if bound not in choice]
        if missing and "enum" not in choice:
            yield place, f"there is no {' and no '.join(missing)}"


@rule
def arrays_are_bounded(contract: Reading) -> Findings:
    """An array has items and maxItems."""
    for _, place, choice in _choices(contract, "array"):
        missing = [word for word in ("items", "maxItems") if word not in choice]
        if missing:
            yield place, f"there is no {' and no '.join(missing)}"


@rule
def maps_are_bounded(contract: Reading) -> Findings:
    """An object without listed properties has maxProperties."""
    for kind, place, choice in _choices(contract, "object"):
        listed = "properties" in choice or choice.get("additionalProperties") is False
        if kind != "body" and not listed and "maxProperties" not in choice:
            yield place, "there is no maxProperties"


def _choices(contract: Reading, *types: str) -> Iterator[tuple[str, str, JSON]]:
    """Kind, place and each choice of these types; what is shared is looked at once."""
    for kind, place, _, schema in contract.schemas:
        if kind == "branch" or "$ref" in schema:
            continue
        for choice in alternatives(contract.document, schema):
            if choice.get("type") in types:
                yield kind, place, choice
