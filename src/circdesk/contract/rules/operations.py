"""Rules for operations: their keys, names, texts, tags and security."""

from circdesk.contract.rules.exceptions import ANONYMOUS_WRITES, OAUTH
from circdesk.contract.rules.names import ARTICLES, SNAKE_CASE, VERBS
from circdesk.contract.rules.reading import JSON, Reading
from circdesk.contract.rules.registry import Findings, rule

_KEYS = (
    "operationId",
    "summary",
    "description",
    "tags",
    "deprecated",
    "security",
    "parameters",
    "requestBody",
    "responses",
)
_LONGEST = {"summary": 120, "description": 300}


@rule
def operation_keys_stand_in_order(contract: Reading) -> Findings:
    """Operations carry their keys in one order, from operationId to responses."""
    for operation in contract.operations:
        keys = [key for key in operation.node if not key.startswith("x-")]
        unknown = [key for key in keys if key not in _KEYS]
        if unknown:
            yield operation.place, f"{', '.join(unknown)} has no place in an operation"
        elif keys != sorted(keys, key=_KEYS.index):
            yield operation.place, f"the keys stand as {', '.join(keys)}"


@rule
def operation_ids_are_unique(contract: Reading) -> Findings:
    """No two operations share an operationId."""
    seen: dict[str, str] = {}
    for operation in contract.operations:
        name = operation.node.get("operationId", "")
        address = f"{operation.method.upper()} {operation.path}"
        if name in seen:
            yield operation.place, f"{address} and {seen[name]} share it"
        seen[name] = address


@rule
def operation_ids_are_plain_names(contract: Reading) -> Findings:
    """An operationId is snake_case of at most 48 characters, verb first, without articles."""
    for operation in contract.operations:
        name = operation.node.get("operationId", "")
        words = name.split("_")
        if not SNAKE_CASE.fullmatch(name):
            yield operation.place, "the operationId is not snake_case"
        elif len(name) > 48:
            yield operation.place, f"the operationId has {len(name)} characters of 48"
        elif words[0] not in VERBS:
            yield operation.place, f"{words[0]!r} is none of our verbs"
        elif ARTICLES.intersection(words):
            yield operation.place, "the operationId contains an article"


@rule
def operations_are_described(contract: Reading) -> Findings:
    """Every operation has a summary of at most 120 and a description of at most 300 characters."""
    for operation in contract.operations:
        for key, most in _LONGEST.items():
            text = operation.node.get(key, "")
            if not text.strip():
                yield operation.place, f"there is no {key}"
            elif len(text) > most:
                yield operation.place, f"the {key} has {len(text)} characters of {most}"


@rule
def operations_have_one_tag(contract: Reading) -> Findings:
    """Every operation has exactly one tag, and the document declares it."""
    declared = _declared_tags(contract)
    for operation in contract.operations:
        tags = operation.node.get("tags", [])
        if len(tags) != 1:
            yield operation.place, f"there are {len(tags)} tags"
        elif tags[0] not in declared:
            yield operation.place, f"the tag {tags[0]!r} is not declared"


@rule
def tags_are_used(contract: Reading) -> Findings:
    """Every declared tag has an operation."""
    used = {tag for operation in contract.operations for tag in operation.node.get("tags", [])}
    for index, name in enumerate(_declared_tags(contract)):
        if name not in used:
            yield f"/tags/{index}", f"no operation has the tag {name!r}"


@rule
def operations_state_their_security(contract: Reading) -> Findings:
    """Every operation states its security, also where it needs none."""
    for operation in contract.operations:
        if "security" not in operation.node:
            yield operation.place, "there is no security"


@rule
def writes_need_credentials(contract: Reading) -> Findings:
    """Whatever writes needs credentials, except OAuth's endpoints and listed operations."""
    for operation in contract.operations:
        name = operation.node.get("operationId")
        if operation.method == "get" or operation.path.startswith(OAUTH):
            continue
        if not operation.needs_credentials and name not in ANONYMOUS_WRITES:
            yield operation.place, f"anybody may {operation.method.upper()}"


@rule
def secured_operations_name_scopes(contract: Reading) -> Findings:
    """Where the document has an oauth2 scheme, each secured operation names its scopes in it."""
    schemes = contract.document.get("components", {}).get("securitySchemes", {})
    declared = {name: _scopes(node) for name, node in schemes.items() if node["type"] == "oauth2"}
    for operation in contract.operations if declared else ():
        requirements = [entry for entry in operation.node.get("security", []) if entry]
        named = [
            (scheme, scope)
            for entry in requirements
            for scheme in declared.keys() & entry.keys()
            for scope in entry[scheme]
        ]
        if requirements and not named and not operation.path.startswith(OAUTH):
            yield operation.place, "its security names no scope"
        for scheme, scope in named:
            if scope not in declared[scheme]:
                yield operation.place, f"the scope {scope!r} is not declared"


@rule
def reads_and_deletions_take_no_body(contract: Reading) -> Findings:
    """GET and DELETE take no body, which RFC 9110 gives no meaning there."""
    for operation in contract.operations:
        if operation.body is not None and operation.method in {"get", "delete"}:
            yield operation.place, f"{operation.method.upper()} takes a body"


def _declared_tags(contract: Reading) -> list[str]:
    return [tag["name"] for tag in contract.document.get("tags", [])]


def _scopes(scheme: JSON) -> frozenset[str]:
    return frozenset(scope for flow in scheme["flows"].values() for scope in flow["scopes"])
