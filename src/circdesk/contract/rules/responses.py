"""Rules for errors: which an operation documents, and in which form they are answered."""

from circdesk.contract.problems import PROBLEM_JSON
from circdesk.contract.rules.exceptions import OAUTH
from circdesk.contract.rules.reading import JSON, Operation, Reading
from circdesk.contract.rules.registry import Findings, rule

_SHARED = "#/components/responses/"
_HEADERS = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}


@rule
def responses_stand_in_order(contract: Reading) -> Findings:
    """Responses are single statuses, ascending, and the first of them is a success."""
    for operation in contract.operations:
        statuses = list(operation.node["responses"])
        if not all(status.isdecimal() for status in statuses):
            yield operation.place, f"{', '.join(statuses)} are not single statuses"
        elif statuses != sorted(statuses):
            yield operation.place, f"the responses stand as {', '.join(statuses)}"
        elif not statuses[0].startswith("2"):
            yield operation.place, "there is no success"


@rule
def errors_are_references(contract: Reading) -> Findings:
    """Every error is a one-line reference to a shared response."""
    for operation in contract.operations:
        for status, node in operation.node["responses"].items():
            if _is_error(status) and not node.get("$ref", "").startswith(_SHARED):
                yield operation.place, f"{status} is no reference to a shared response"


@rule
def errors_are_problems(contract: Reading) -> Findings:
    """Every error is answered as application/problem+json and nothing else, OAuth's apart."""
    for reference, response in _shared_errors(contract).items():
        media_types = list(response.get("content", {}))
        if media_types != [PROBLEM_JSON]:
            yield reference.removeprefix("#"), f"its media types are {media_types}"


@rule
def errors_carry_their_headers(contract: Reading) -> Findings:
    """A 401 declares WWW-Authenticate; a 429 and a 503 declare Retry-After."""
    for operation in contract.operations:
        for status, response in operation.responses.items():
            header = _HEADERS.get(status)
            if header is not None and header not in response.get("headers", {}):
                yield operation.place, f"its {status} declares no {header}"


@rule
def operations_document_common_errors(contract: Reading) -> Findings:
    """Every operation documents 400, because what it does not know is refused, 500 and 503."""
    for operation in contract.operations:
        yield from _undocumented(operation, "400", "500", "503")


@rule
def resources_document_404(contract: Reading) -> Findings:
    """Every operation on a path with a variable documents 404."""
    for operation in contract.operations:
        if "{" in operation.path:
            yield from _undocumented(operation, "404")


@rule
def secured_operations_document_refusals(contract: Reading) -> Findings:
    """Operations that know credentials document 401; those that need a scope 403 as well."""
    for operation in contract.operations:
        requirements = operation.node.get("security", [])
        if any(requirements):
            yield from _undocumented(operation, "401")
        if operation.needs_credentials and any(any(entry.values()) for entry in requirements):
            yield from _undocumented(operation, "403")


@rule
def bodies_document_their_refusals(contract: Reading) -> Findings:
    """Every operation that takes a body documents 413 and, OAuth's apart, 415."""
    for operation in contract.operations:
        if operation.body is not None:
            refusals = ("413",) if operation.path.startswith(OAUTH) else ("413", "415")
            yield from _undocumented(operation, *refusals)


def _is_error(status: str) -> bool:
    return status[0] in "45"


def _undocumented(operation: Operation, *statuses: str) -> Findings:
    for status in statuses:
        if status not in operation.responses:
            yield operation.place, f"{status} is not documented"


def _shared_errors(contract: Reading) -> dict[str, JSON]:
    """The shared responses that are answered as errors outside OAuth, by their reference."""
    return {
        node["$ref"]: operation.responses[status]
        for operation in contract.operations
        for status, node in operation.node["responses"].items()
        if _is_error(status) and "$ref" in node and not operation.path.startswith(OAUTH)
    }
