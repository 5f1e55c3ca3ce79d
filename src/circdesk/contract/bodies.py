"""JSON bodies, read strictly: what two readers could take in two ways is refused."""

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NoReturn

from circdesk.contract.problems import fault
from circdesk.contract.requests import MalformedBody

_MAX_DEPTH = 32
_INT64 = range(-(2**63), 2**63)


def read_json(body: bytes) -> Any:
    """The value of a JSON text (RFC 8259) in UTF-8.

    A number without a fraction is an int, however it is written: 1.0 and 1e0 are 1, as JSON
    Schema has it. Refused besides plain syntax errors: duplicate keys, NaN and Infinity,
    integers beyond 64 bits, floats beyond a double, nesting deeper than 32, NUL and lone
    surrogates in strings.

    Raises:
        MalformedBody: With one detail that says what is wrong.
    """
    _refuse_depth(body)
    try:
        value = _decoder.decode(body.decode())
    except UnicodeDecodeError:
        raise _malformed("encoding", "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        # Some of Python's messages end with a word that expects the place right behind it.
        reason = error.msg.removesuffix(" at")
        place = f"line {error.lineno}, column {error.colno}"
        raise _malformed("syntax", f"The body is not JSON: {reason} at {place}.") from None
    # Strings can only hold NUL or half a surrogate pair by way of an escape.
    if b"\\u" in body:
        _refuse_bad_strings(value)
    return value


def _malformed(rule: str, message: str) -> MalformedBody:
    return MalformedBody(message, details=[fault("body", "", rule, message)])


# Possessive, and content with an end that is missing, so that it takes linear time whatever comes.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def _refuse_depth(body: bytes) -> None:
    """Refuse a depth bomb before the parser, whose recursion is limited by the stack alone."""
    if body.count(b"[") + body.count(b"{") <= _MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    depths = accumulate(map(_STEPS.__getitem__, brackets))
    if any(map(_MAX_DEPTH.__lt__, depths)):
        raise _malformed("depth", f"The body is nested deeper than {_MAX_DEPTH}.")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _malformed("duplicate_key", "The body has an object with the same key twice.")
    return members


def _int64(digits: str) -> int:
    # A longer text is out of range anyway, and int() would take its time over it.
    if len(digits) > 20 or (number := int(digits)) not in _INT64:
        raise _malformed("integer_range", "The body has an integer beyond 64 bits.")
    return number


def _finite(text: str) -> float | int:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _malformed("number_range", "The body has a number beyond a double.")
    return int(number) if number.is_integer() and int(number) in _INT64 else number


def _no_constant(name: str) -> NoReturn:
    raise _malformed("constant", f"The body has {name}, which JSON does not know.")


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique_keys,
    parse_int=_int64,
    parse_float=_finite,
    parse_constant=_no_constant,
)


def _refuse_bad_strings(value: Any) -> None:
    nodes = [value]
    while nodes:
        node = nodes.pop()
        nodes += _children(node)
        if isinstance(node, str) and ("\0" in node or _has_surrogate(node)):
            raise _malformed("character", "The body has a NUL or a lone surrogate in a string.")


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
