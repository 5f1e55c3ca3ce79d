"""Rules for successes: what lists, creations and deletions answer."""

from circdesk.contract.rules.positions import alternatives
from circdesk.contract.rules.reading import JSON, Reading
from circdesk.contract.rules.registry import Findings, rule

_ENVELOPE = ("items", "page", "per_page", "total", "next_cursor", "links")
_EMPTY = frozenset(("204", "304"))


@rule
def lists_answer_in_one_envelope(contract: Reading) -> Findings:
    """An operation with pages answers {items, page, per_page, total, next_cursor, links}."""
    for operation in contract.operations:
        if not any(parameter["name"] == "page" for parameter in operation.parameters):
            continue
        properties = _json_properties(contract, operation.responses.get("200", {}))
        missing = [name for name in _ENVELOPE if name not in properties]
        if missing:
            yield operation.place, f"its answer lacks {', '.join(missing)}"


@rule
def creations_name_a_location(contract: Reading) -> Findings:
    """A 201 declares a Location header."""
    for operation in contract.operations:
        created = operation.responses.get("201")
        if created is not None and "Location" not in created.get("headers", {}):
            yield operation.place, "its 201 declares no Location"


@rule
def deletions_answer_204(contract: Reading) -> Findings:
    """A deletion answers 204 and has no other success."""
    for operation in contract.operations:
        successes = [status for status in operation.responses if status.startswith("2")]
        if operation.method == "delete" and successes != ["204"]:
            yield operation.place, f"its successes are {', '.join(successes)}"


@rule
def empty_answers_have_no_content(contract: Reading) -> Findings:
    """A 204 and a 304 have no content."""
    for operation in contract.operations:
        for status in _EMPTY & operation.responses.keys():
            if "content" in operation.responses[status]:
                yield operation.place, f"its {status} has content"


@rule
def successes_may_clear_stale_sessions(contract: Reading) -> Findings:
    """Where a session's cookie is taken, every success declares Set-Cookie to clear a stale one."""
    for operation in contract.operations:
        if not any("Session" in entry for entry in operation.node.get("security", [])):
            continue
        for status, response in operation.responses.items():
            if status.startswith("2") and "Set-Cookie" not in response.get("headers", {}):
                yield operation.place, f"its {status} declares no Set-Cookie"


@rule
def media_types_have_schemas(contract: Reading) -> Findings:
    """Every media type has a schema."""
    for place, node in contract.media_types:
        if "schema" not in node:
            yield place, "there is no schema"


def _json_properties(contract: Reading, response: JSON) -> frozenset[str]:
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return frozenset(
        name
        for choice in alternatives(contract.document, schema)
        for name in choice.get("properties", {})
    )
