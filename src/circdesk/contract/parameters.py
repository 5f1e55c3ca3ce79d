"""Parameters of an operation: read from the request, coerced, defaulted, checked at once."""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import unquote_to_bytes

from circdesk.contract.documents import ContractError, resolve
from circdesk.contract.formats import PARSERS
from circdesk.contract.problems import fault
from circdesk.contract.schemas import Check, Schemas, json_pointer

JSON = dict[str, Any]
Faults = list[dict[str, Any]]

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?", re.ASCII)
_INT64 = range(-(2**63), 2**63)
# More than any operation could take; what comes beyond would only cost time to refuse.
_MOST_PAIRS = 1000


def decode(text: str) -> str:
    """Percent-decode one path segment, or one name or value of a query.

    Args:
        text: As it arrived, its bytes read as Latin-1; what is not ASCII counts as UTF-8.

    Raises:
        ValueError: An escape is broken, or the result is not UTF-8 or holds NUL.
    """
    if "%" not in text and "\0" not in text and text.isascii():
        return text
    if _BROKEN_ESCAPE.search(text):
        raise ValueError("a percent sign that starts no escape")
    decoded = unquote_to_bytes(text.encode("latin-1")).decode()
    if "\0" in decoded:
        raise ValueError("a NUL character")
    return decoded


def split_query(query: bytes, faults: Faults) -> dict[str, list[str]]:
    """Names and values of a query string; what cannot be decoded is added to `faults`."""
    values: dict[str, list[str]] = {}
    text = query.decode("latin-1").replace("+", " ")
    pairs = text.split("&", _MOST_PAIRS)
    if len(pairs) > _MOST_PAIRS:
        message = f"the query has more than {_MOST_PAIRS} parameters"
        faults.append(fault("query", "", "maxItems", message, _MOST_PAIRS))
        return values
    # Then nothing in it is, and that is known at one look.
    is_plain = "%" not in text and "\0" not in text and text.isascii()
    for pair in filter(None, pairs):
        raw_name, _, raw_value = pair.partition("=")
        try:
            name = raw_name if is_plain else decode(raw_name)
            value = raw_value if is_plain else decode(raw_value)
        except ValueError as error:
            message = f"the query cannot be decoded: {_reason(error)}"
            faults.append(fault("query", "", "encoding", message))
        else:
            values.setdefault(name, []).append(value)
    return values


def _reason(error: ValueError) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


class Defaults:
    """What stands for values that were not sent.

    Lists and objects are made anew each time: what one request changes, no other must see.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._changeable = {n: v for n, v in values.items() if isinstance(v, list | dict)}
        # All of them, where they are the same each time.
        self.fixed = None if self._changeable else self._values

    def fill(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """What was sent, and the default of everything else."""
        if self.fixed is None:
            return {**self._values, **deepcopy(self._changeable), **sent}
        return {**self.fixed, **sent}


class Parameters:
    """The parameters of one place (`path`, `query` or `header`) of one operation."""

    def __init__(
        self, document: JSON, place: str, parameters: list[JSON], schemas: Schemas
    ) -> None:
        self.place = place
        self._readers = {
            _key(place, parameter): _Reader(document, place, parameter) for parameter in parameters
        }
        readers = self._readers.values()
        required = [p["name"] for p in parameters if p.get("required")]
        self._check: Check = schemas.compile(
            {
                "type": "object",
                "properties": {reader.name: reader.schema for reader in readers},
                # The router has matched every segment; one that cannot be decoded is no second
                # fault.
                "required": required if place != "path" else [],
            }
        )
        self._defaults = Defaults({reader.name: reader.default for reader in readers})
        # What stands for all of them, where none need be sent.
        self._unsent = self._defaults.fixed if self._check.is_valid({}) else None
        self._raw_keys = [(key, key.encode()) for key in self._readers]
        self.names = tuple(reader.name for reader in readers)

    def read(self, values: Mapping[str, list[str]], faults: Faults) -> dict[str, Any]:
        """The arguments for the handler; every fault is added to `faults`.

        Parameters that were not sent have their default, or None.
        """
        if not values and self._unsent is not None:
            return {**self._unsent}
        found: dict[str, Any] = {}
        for key, texts in values.items():
            reader = self._readers.get(key)
            if reader is None:
                message = f"the {self.place} parameter is unknown"
                allowed = [*self.names]
                faults.append(fault(self.place, json_pointer([key]), "unknown", message, allowed))
                continue
            if len(texts) > 1 and not reader.is_list:
                message = "the parameter stands more than once"
                faults.append(fault(self.place, json_pointer([reader.name]), "repeated", message))
            found[reader.name] = reader.coerce(texts)
        if not self._check.is_valid(found):
            faults += [fault(self.place, *violation) for violation in self._check.violations(found)]
            return found
        for key in values:
            if (reader := self._readers.get(key)) and reader.parse:
                found[reader.name] = reader.parse(found[reader.name])
        return found if len(found) == len(self.names) else self._defaults.fill(found)

    def read_headers(self, headers: Mapping[bytes, bytes], faults: Faults) -> dict[str, Any]:
        """As `read`, from the headers of an ASGI scope; headers not in the contract are let be."""
        values = {
            key: [headers[raw].decode("latin-1")] for key, raw in self._raw_keys if raw in headers
        }
        if not values and self._unsent is not None:
            return {**self._unsent}
        return self.read(values, faults)


def _key(place: str, parameter: JSON) -> str:
    """What the request calls a parameter; header names are case-insensitive."""
    return str(parameter["name"].lower() if place == "header" else parameter["name"])


class _Reader:
    """How one parameter becomes a value: split, coerced by type, parsed by format."""

    def __init__(self, document: JSON, place: str, parameter: JSON) -> None:
        self.name: str = parameter["name"]
        style = "form" if place == "query" else "simple"
        if "schema" not in parameter or parameter.get("style", style) != style:
            raise ContractError(f"the parameter {self.name!r} has a form that is not read here")
        self.schema: JSON = parameter["schema"]
        plain = _flatten(document, self.schema)
        is_array = plain.get("type") == "array"
        exploded = style == "form" and parameter.get("explode", True)
        self.is_list = is_array and exploded
        self._separated = is_array and not exploded
        item = _flatten(document, plain["items"]) if is_array else plain
        self._coerce_item = _COERCIONS.get(item.get("type", ""), str)
        self.parse = _parser(item.get("format", ""), is_array=is_array)
        self.default = plain.get("default")
        if self.parse and self.default is not None:
            self.default = self.parse(self.default)

    def coerce(self, texts: list[str]) -> Any:
        """The value by its type; a text that does not fit stays a text, for the check to name."""
        if self.is_list:
            return [self._coerce_item(text) for text in texts]
        if self._separated:
            return [self._coerce_item(text.strip()) for text in texts[0].split(",")]
        return self._coerce_item(texts[0])


def _flatten(document: JSON, schema: JSON) -> JSON:
    """The schema with its references resolved and, where it says `allOf`, their keywords."""
    plain = resolve(document, schema)
    for part in plain.get("allOf", ()):
        plain = {**_flatten(document, part), **plain}
    return plain


def _parser(format_name: str, *, is_array: bool) -> Callable[[Any], Any] | None:
    parse = PARSERS.get(format_name)
    if parse is None or not is_array:
        return parse
    return lambda texts: [parse(text) for text in texts]


def _integer(text: str) -> int | str:
    if _INTEGER.fullmatch(text) and (number := int(text)) in _INT64:
        return number
    return text


def _number(text: str) -> float | str:
    # Adding zero makes a plain zero of a negative one.
    return float(text) + 0.0 if _NUMBER.fullmatch(text) else text


def _boolean(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text, text)


_COERCIONS: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
}
