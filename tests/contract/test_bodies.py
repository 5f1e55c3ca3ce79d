import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circdesk.contract.bodies import read_json
from circdesk.contract.requests import MalformedBody

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=30
)

ESCAPED = '{"a": ["\\u00e9\\ud83d\\ude00", "\\\\u0000"]}'


class TestGoodBodies:
    @given(value=VALUES, ensure_ascii=st.booleans(), indent=st.none() | st.integers(0, 2))
    def test_what_the_standard_library_writes_is_read_back(
        self,
        value: Any,
        ensure_ascii: bool,  # noqa: FBT001  Hypothesis passes it by name.
        indent: int | None,
    ) -> None:
        text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
        assert read_json(text.encode()) == json.loads(text)

    def test_escapes_are_read(self) -> None:
        assert read_json(ESCAPED.encode()) == {"a": ["é😀", "\\u0000"]}

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            pytest.param("1.0", 1, id="a float without a fraction"),
            pytest.param("1e3", 1000, id="an exponent"),
            pytest.param("-0.0", 0, id="minus zero"),
            pytest.param("1e-400", 0, id="too small for a double"),
            pytest.param("9223372036854775807", 2**63 - 1, id="the largest integer"),
            pytest.param("-9223372036854775808", -(2**63), id="the smallest integer"),
        ],
    )
    def test_a_number_without_a_fraction_is_an_integer(self, text: str, value: int) -> None:
        read = read_json(text.encode())
        assert (read, type(read)) == (value, int)
        assert math.copysign(1, read) == math.copysign(1, value)

    @pytest.mark.parametrize(("text", "value"), [("1.5", 1.5), ("1e300", 1e300), ("1e19", 1e19)])
    def test_other_numbers_are_floats(self, text: str, value: float) -> None:
        read = read_json(text.encode())
        assert (read, type(read)) == (value, float)

    @pytest.mark.parametrize("text", ["[" * 32 + "]" * 32, '{"a":' * 32 + "1" + "}" * 32])
    def test_nesting_may_be_32_deep(self, text: str) -> None:
        assert read_json(text.encode()) == json.loads(text)

    def test_brackets_in_strings_are_no_nesting(self) -> None:
        value = ["[" * 100, '{"' * 50, '\\"[' * 50, "]" * 100, "\\"]
        assert read_json(json.dumps(value).encode()) == value

    def test_many_brackets_side_by_side_are_no_nesting(self) -> None:
        assert read_json(b"[" + b"[],{}," * 1000 + b"[]]") == [*([[], {}] * 1000), []]


class TestBadBodies:
    @pytest.mark.parametrize(
        ("body", "rule", "message"),
        [
            pytest.param(
                b"",
                "syntax",
                "The body is not JSON: Expecting value at line 1, column 1.",
                id="empty",
            ),
            pytest.param(
                b'{"a": 1,\n"b"}',
                "syntax",
                "The body is not JSON: Expecting ':' delimiter at line 2, column 4.",
                id="broken",
            ),
            pytest.param(
                b"1 2",
                "syntax",
                "The body is not JSON: Extra data at line 1, column 3.",
                id="two values",
            ),
            pytest.param(
                b"\xef\xbb\xbf1",
                "syntax",
                "The body is not JSON: Expecting value at line 1, column 1.",
                id="a byte order mark",
            ),
            pytest.param(
                b'"a\0b"',
                "syntax",
                "The body is not JSON: Invalid control character at line 1, column 3.",
                id="a raw NUL",
            ),
            pytest.param(b'"\xff"', "encoding", "The body is not UTF-8.", id="a byte beyond UTF-8"),
            pytest.param(
                b'"\xed\xa0\xbd\xed\xb8\x80"', "encoding", "The body is not UTF-8.", id="CESU-8"
            ),
            pytest.param(b'"\xc0\x80"', "encoding", "The body is not UTF-8.", id="overlong UTF-8"),
            pytest.param('"a"'.encode("utf-16"), "encoding", "The body is not UTF-8.", id="UTF-16"),
            pytest.param(
                b'{"a": {"b": 1, "b": 1}}',
                "duplicate_key",
                "The body has an object with the same key twice.",
                id="a duplicate key",
            ),
            pytest.param(
                b'{"a": 1, "\\u0061": 1}',
                "duplicate_key",
                "The body has an object with the same key twice.",
                id="a duplicate key in an escape",
            ),
            pytest.param(
                b"NaN", "constant", "The body has NaN, which JSON does not know.", id="NaN"
            ),
            pytest.param(
                b"[-Infinity]",
                "constant",
                "The body has -Infinity, which JSON does not know.",
                id="minus infinity",
            ),
            pytest.param(
                b"9223372036854775808",
                "integer_range",
                "The body has an integer beyond 64 bits.",
                id="an integer of 64 bits and one",
            ),
            pytest.param(
                b"-9223372036854775809",
                "integer_range",
                "The body has an integer beyond 64 bits.",
                id="a negative integer beyond 64 bits",
            ),
            pytest.param(
                b"9" * 1_000_000,
                "integer_range",
                "The body has an integer beyond 64 bits.",
                id="a million digits",
            ),
            pytest.param(
                b"-1e400",
                "number_range",
                "The body has a number beyond a double.",
                id="a huge float",
            ),
            pytest.param(
                b'{"a": "\\u0000"}',
                "character",
                "The body has a NUL or a lone surrogate in a string.",
                id="an escaped NUL",
            ),
            pytest.param(
                b'["\\ud800"]',
                "character",
                "The body has a NUL or a lone surrogate in a string.",
                id="half a surrogate pair",
            ),
            pytest.param(
                b'{"\\udc00": 1}',
                "character",
                "The body has a NUL or a lone surrogate in a string.",
                id="half a surrogate pair in a key",
            ),
            pytest.param(
                b"[" * 33 + b"]" * 33, "depth", "The body is nested deeper than 32.", id="33 deep"
            ),
            pytest.param(
                b"[" * 1_000_000,
                "depth",
                "The body is nested deeper than 32.",
                id="a bomb of lists",
            ),
            pytest.param(
                b'{"a":' * 200_000,
                "depth",
                "The body is nested deeper than 32.",
                id="a bomb of objects",
            ),
            pytest.param(
                b'"' + b'\\"[' * 300_000,
                "syntax",
                "The body is not JSON: Unterminated string starting at line 1, column 1.",
                id="a string without end, full of quotes",
            ),
        ],
    )
    def test_each_is_refused_with_its_reason(self, body: bytes, rule: str, message: str) -> None:
        with pytest.raises(MalformedBody) as caught:
            read_json(body)
        assert caught.value.message == message
        assert caught.value.details == [
            {"in": "body", "pointer": "", "rule": rule, "message": message}
        ]

    @given(st.binary(max_size=50))
    def test_anything_is_a_value_or_malformed(self, body: bytes) -> None:
        try:
            value = read_json(body)
        except MalformedBody:
            return
        assert value == json.loads(body)

    @given(st.text('[]{}"\\,:a1', max_size=120))
    def test_brackets_in_any_disorder_are_a_value_or_malformed(self, text: str) -> None:
        try:
            value = read_json(text.encode())
        except MalformedBody:
            return
        assert value == json.loads(text)
