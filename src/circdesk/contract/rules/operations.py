"""Rules for operations: their keys, names, texts, tags and security."""

from collections.abc import Iterable

from circdesk.contract.rules.exceptions import ANONYMOUS_WRITES, INNER_SCOPES, OAUTH, OWN_SESSION
from circdesk.contract.rules.names import ARTICLES, SNAKE_CASE, VERBS
from circdesk.contract.rules.reading import JSON, Operation, Reading
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
    """Where there is an oauth2 scheme, secured operations name its scopes; sessions' own do not."""
    declared = _declared_scopes(contract)
    for operation in contract.operations if declared else ():
        named = _named_scopes(operation, declared)
        exempt = operation.path.startswith(OAUTH) or _is_for_sessions(operation)
        if operation.needs_credentials and not exempt and not named:
            yield operation.place, "its security names no scope"
        for scheme, scope in named:
            if scope not in declared[scheme]:
                yield operation.place, f"the scope {scope!r} is not declared"


@rule
def scopes_are_used(contract: Reading) -> Findings:
    """Every scope that an oauth2 scheme declares is named by an operation, or is listed."""
    declared = _declared_scopes(contract)
    used = {
        each for operation in contract.operations for each in _named_scopes(operation, declared)
    }
    for scheme, scopes in declared.items():
        for scope in sorted(scopes - INNER_SCOPES):
            if (scheme, scope) not in used:
                yield (
                    f"/components/securitySchemes/{scheme}",
                    f"no operation names the scope {scope!r}",
                )


@rule
def reads_and_deletions_take_no_body(contract: Reading) -> Findings:
    """GET and DELETE take no body, which RFC 9110 gives no meaning there."""
    for operation in contract.operations:
        if operation.body is not None and operation.method in {"get", "delete"}:
            yield operation.place, f"{operation.method.upper()} takes a body"


def _is_for_sessions(operation: Operation) -> bool:
    return all(entry.keys() <= OWN_SESSION for entry in operation.node.get("security", []))


def _declared_tags(contract: Reading) -> list[str]:
    return [tag["name"] for tag in contract.document.get("tags", [])]


def _declared_scopes(contract: Reading) -> dict[str, frozenset[str]]:
    """The scopes of each oauth2 scheme."""
    schemes = contract.document.get("components", {}).get("securitySchemes", {})
    return {name: _scopes(node) for name, node in schemes.items() if node["type"] == "oauth2"}


def _named_scopes(operation: Operation, declared: Iterable[str]) -> list[tuple[str, str]]:
    """Scheme and scope of every scope that the operation names in an oauth2 entry."""
    return [
        (scheme, scope)
        for entry in operation.node.get("security", [])
        for scheme in declared
        for scope in entry.get(scheme, ())
    ]


def _scopes(scheme: JSON) -> frozenset[str]:
    return frozenset(scope for flow in scheme["flows"].values() for scope in flow["scopes"])
