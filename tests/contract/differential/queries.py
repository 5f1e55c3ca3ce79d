"""What can be wrong with a query: every parameter against each word of its schema."""

from collections.abc import Iterator
from urllib.parse import unquote_plus

from tests.contract.differential.examples import as_text, parameters_of, rule_of
from tests.contract.differential.requests import JSON, Request


def queries(request: Request) -> Iterator[Request]:
    """The request with parameters, good and bad."""
    parameters = [*parameters_of(request.operation, "query")]
    pairs = tuple((p["name"], as_text(p["example"])) for p in parameters)
    yield request.but(kind="an unknown parameter", query=(("colour", "red"),))
    if pairs:
        yield request.but(kind=f"every parameter{_named(parameters)}", query=pairs)
    for parameter in parameters:
        name, example = parameter["name"], as_text(parameter["example"])
        kind = f"one parameter{_named([parameter])}"
        yield request.but(kind=kind, query=((name, example),))
        yield request.but(kind="a parameter twice", query=((name, example),) * 2)
        yield request.but(kind="a parameter in capitals", query=((name.upper(), example),))
        for kind, text in _values(parameter["schema"], example):
            yield request.but(kind=kind, query=((name, text),))
    yield from _contradictions(request)


def _named(parameters: list[JSON]) -> str:
    """A word for those that have a name which Connexion uses itself."""
    return ", with a user" if any(p["name"] == "user" for p in parameters) else ""


def _contradictions(request: Request) -> Iterator[Request]:
    if "idempotency_key" in request.operation.query.names:
        query = (("idempotency_key", "one"),)
        header = {"idempotency-key": "another"}
        yield request.but(kind="two keys for one request", query=query).with_headers(**header)


def _values(schema: JSON, example: str) -> Iterator[tuple[str, str]]:
    if schema["type"] == "integer":
        yield from _numbers(schema)
    elif schema["type"] == "boolean":
        yield "a word for a boolean", "yes"
        yield "a number for a boolean", "1"
        yield "nothing for a boolean", ""
        yield "a boolean in capitals", "TRUE"
    elif "enum" in schema:
        yield "none of the values", "no_such_value"
        yield "a value in capitals", example.upper()
    else:
        yield from _texts(schema, example)


def _numbers(schema: JSON) -> Iterator[tuple[str, str]]:
    yield "a word for a number", "many"
    yield "nothing for a number", ""
    yield "a fraction for an integer", "1.5"
    yield "a whole fraction for an integer", "1.0"
    yield "a number below its bound", str(schema["minimum"] - 1)
    yield "a number above its bound", str(schema["maximum"] + 1)
    yield "a number beyond 64 bits", "1" * 30
    yield "a number with a plus sign", "%2B1"
    yield "a number with a space", "%201"
    yield "a number with an underscore", "1_0"
    yield "a number with a leading zero", "01"
    yield "digits of another script", "%D9%A1"


def _texts(schema: JSON, example: str) -> Iterator[tuple[str, str]]:
    for kind, text in (
        ("a text that is too long", "a" * (schema["maxLength"] + 1)),
        ("a text that is not UTF-8", "%FF"),
        ("a broken escape in a text", "%zz"),
        ("NUL in a text", f"{example}%00"),
        ("a text with a plus sign", f"{example}+{example}"),
        ("a text with an accent", "%C3%A9"),
        ("a text with a control character", "%01"),
        ("a word", "nonsense"),
    ):
        yield f"{kind}, {rule_of(schema, unquote_plus(text))}", text
    if schema.get("minLength"):
        yield "nothing for a text", ""
    if "pattern" in schema:
        yield "a line break behind a text", f"{example}%0A"
