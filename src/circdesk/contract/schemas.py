"""Schemas, compiled once: OpenAPI 3.0 keywords are translated, then `jsonschema_rs` compiles."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import jsonschema_rs
import orjson

from circdesk.contract.documents import ContractError
from circdesk.contract.formats import FORMATS, FORMATS_READ

JSON = dict[str, Any]

_BASE = "urn:circdesk:contract"
# Annotations that constrain nothing; leaving them out keeps the compiled schemas small.
_ANNOTATIONS = frozenset(
    ("example", "discriminator", "xml", "externalDocs", "deprecated", "description", "title")
)
_SCHEMA_MAPS = frozenset(("properties",))
_SCHEMA_LISTS = frozenset(("allOf", "anyOf", "oneOf"))
_SCHEMAS = frozenset(("items", "not", "additionalProperties"))


def to_json_schema(schema: JSON) -> JSON:
    """Translate one schema of OpenAPI 3.0 into JSON Schema 2020-12; references are kept.

    `nullable` becomes a null type (and a null among the values of an enum), the boolean
    `exclusiveMinimum` and `exclusiveMaximum` become numbers.
    """
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace("#/", f"{_BASE}#/", 1)}
    translated = {key: _translate(key, value) for key, value in schema.items()}
    for annotation in _ANNOTATIONS & translated.keys():
        del translated[annotation]
    for word, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if translated.pop(word, False) and bound in translated:
            translated[word] = translated.pop(bound)
    if translated.pop("nullable", False):
        return _or_null(translated)
    return translated


def _translate(key: str, value: Any) -> Any:
    if key in _SCHEMA_MAPS:
        return {name: to_json_schema(schema) for name, schema in value.items()}
    if key in _SCHEMA_LISTS:
        return [to_json_schema(schema) for schema in value]
    if key in _SCHEMAS and isinstance(value, dict):
        return to_json_schema(value)
    return value


def _or_null(schema: JSON) -> JSON:
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    schema["type"] = [schema["type"], "null"]
    if None not in schema.get("enum", [None]):
        schema["enum"] = [*schema["enum"], None]
    return schema


# Finding every violation costs 10 µs for each, on the event loop: beyond this many values one
# violation must do.
_MOST_VALUES = 1000
# A single value can lack or have too much of this many properties.
_MOST_VIOLATIONS = 100


class Violation(NamedTuple):
    """One way in which a value breaks its schema: where, which keyword, why, what would do."""

    pointer: str
    rule: str
    message: str
    allowed: Any


class Schemas:
    """The compiler: knows the document's components and makes validators that share them."""

    def __init__(self, document: JSON) -> None:
        kinds = document.get("components", {})
        schemas = {
            name: to_json_schema(schema) for name, schema in kinds.get("schemas", {}).items()
        }
        self._registry = jsonschema_rs.Registry([(_BASE, {"components": {"schemas": schemas}})])
        self._checks: dict[tuple[bytes, bool], Check] = {}

    def compile(self, schema: JSON, *, answered: bool = False) -> "Check":
        """A check for a schema of the document, for what is read or for what is answered.

        Raises:
            ContractError: The schema is none, or refers to what is not a schema.
        """
        # Most schemas stand in many places, and each compiled one takes a tenth of a megabyte.
        key = orjson.dumps(schema), answered
        if key not in self._checks:
            try:
                validator = self._compile(schema, FORMATS if answered else FORMATS_READ)
            except jsonschema_rs.ValidationError as error:
                raise ContractError(f"a schema cannot be compiled: {error.message}") from error
            self._checks[key] = Check(validator)
        return self._checks[key]

    def _compile(
        self, schema: JSON, formats: dict[str, Callable[[str], bool]]
    ) -> jsonschema_rs.Draft202012Validator:
        return jsonschema_rs.Draft202012Validator(
            to_json_schema(schema),
            registry=self._registry,
            formats=formats,
            validate_formats=True,
            ignore_unknown_formats=True,
            # A refused value is never repeated: it may be long, and it may be a secret.
            mask="the value",
        )


class Check:
    """A compiled schema."""

    def __init__(self, validator: jsonschema_rs.Draft202012Validator) -> None:
        self.is_valid: Callable[[Any], bool] = validator.is_valid
        self._validator = validator

    def violations(self, value: Any) -> Iterator[Violation]:
        """Every violation, in the order of the schema; nothing where the value is valid.

        Of a very large value only the first violation is looked for.
        """
        for error in self._errors(value):
            yield from islice(_violations(error), _MOST_VIOLATIONS)

    def _errors(self, value: Any) -> Iterator[jsonschema_rs.ValidationError]:
        if not _is_very_large(value):
            yield from self._validator.iter_errors(value)
            return
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            yield error


def _is_very_large(value: Any) -> bool:
    nodes = [value]
    # The list grows while it is walked.
    for node in nodes:
        if isinstance(node, dict | list):
            nodes += node.values() if isinstance(node, dict) else node
        if len(nodes) > _MOST_VALUES:
            return True
    return False


def _violations(error: jsonschema_rs.ValidationError) -> Iterator[Violation]:
    """One entry for each missing and each unexpected property; one for any other error.

    Where a value fits no alternative of `anyOf` or `oneOf`, the faults are those of the nearest.
    """
    path, kind, rule = [*error.instance_path], error.kind, error.kind.name
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        yield Violation(json_pointer([*path, kind.property]), rule, "a value is missing", None)
    elif isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        for name in kind.unexpected:
            yield Violation(json_pointer([*path, name]), rule, "the property is unknown", None)
    elif unknown := _unknown_name(kind.as_dict().get("context", ())):
        yield unknown
    elif nearest := _nearest(kind.as_dict().get("context", ())):
        for inner in nearest:
            yield from _violations(inner)
    else:
        yield Violation(json_pointer(path), rule, error.message, _allowed(kind))


Alternative = Sequence[jsonschema_rs.ValidationError]


def _nearest(alternatives: Iterable[Alternative]) -> Alternative:
    """The errors of the alternative that has the fewest, the deepest first; none where two tie.

    Those that the value does not claim to be come last.
    """
    ranked = sorted((_distance(errors), place) for place, errors in enumerate(alternatives))
    if not ranked or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return ()
    return [*alternatives][ranked[0][1]]


def _distance(errors: Alternative) -> tuple[bool, int, int]:
    faults = [violation for error in errors for violation in _violations(error)]
    depth = max((len(error.instance_path) for error in errors), default=0)
    return any(map(_is_other_kind, errors)), len(faults), -depth


def _is_other_kind(error: jsonschema_rs.ValidationError) -> bool:
    """Whether the value names itself something else: a property with one possible value is a name.

    Then the alternative is far, however little else is wrong with the value.
    """
    kind = error.kind
    return isinstance(kind, jsonschema_rs.ValidationErrorKind.Enum) and len(kind.options) == 1


def _unknown_name(alternatives: Sequence[Alternative]) -> Violation | None:
    """The violation of a value whose name is that of no alternative; else None."""
    names = [name for errors in alternatives for name in filter(_is_other_kind, errors)]
    if not names or len(names) != len(alternatives):
        return None
    options = [*dict.fromkeys(option for name in names for option in _allowed(name.kind))]
    message = f"the value is not one of {_as_text(options)}"
    return Violation(json_pointer(names[0].instance_path), "enum", message, options)


_ALLOWED = (
    "limit", "options", "pattern", "format", "types", "expected_value", "multiple_of", "property",
)  # fmt: skip


def _allowed(kind: Any) -> Any:
    """What the rule would have allowed: the limit, the options, the pattern, the types.

    For `anyOf` and `oneOf` a list, with what each alternative would have allowed first, as text.
    """
    facts = kind.as_dict()
    if "context" in facts:
        texts = [_as_text(_allowed(errors[0].kind)) for errors in facts["context"] if errors]
        return [*dict.fromkeys(texts)]
    return next((facts[name] for name in _ALLOWED if name in facts), None)


def _as_text(allowed: Any) -> str | None:
    if isinstance(allowed, list):
        return " or ".join(map(str, allowed))
    return None if allowed is None else str(allowed)


def json_pointer(path: Iterable[str | int]) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
