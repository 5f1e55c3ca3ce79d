from datetime import UTC, date, datetime
from typing import Any, ClassVar
from urllib.parse import quote, quote_plus, urlencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circdesk.contract.documents import ContractError
from circdesk.contract.parameters import Defaults, Faults, Parameters, decode, split_query
from circdesk.contract.schemas import Schemas

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


class TestDecode:
    @given(TEXTS)
    def test_what_is_quoted_comes_back(self, text: str) -> None:
        assert decode(quote(text, safe="")) == text

    def test_raw_utf8_is_read_as_such(self) -> None:
        assert decode("Böll".encode().decode("latin-1")) == "Böll"

    def test_raw_and_encoded_bytes_may_stand_together(self) -> None:
        assert decode("Bö".encode().decode("latin-1") + "%C3%A4") == "Böä"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            pytest.param("%", "a percent sign that starts no escape", id="a lone percent sign"),
            pytest.param("%4", "a percent sign that starts no escape", id="half an escape"),
            pytest.param("%zz", "a percent sign that starts no escape", id="no digits"),
            pytest.param(
                "%u0041", "a percent sign that starts no escape", id="an escape of JavaScript"
            ),
            pytest.param("%00", "a NUL character", id="an encoded NUL"),
            pytest.param("a\0", "a NUL character", id="a raw NUL"),
        ],
    )
    def test_what_is_broken_is_refused(self, text: str, reason: str) -> None:
        with pytest.raises(ValueError) as caught:
            decode(text)
        assert str(caught.value) == reason

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("%FF", id="an encoded byte beyond UTF-8"),
            pytest.param("%C3", id="half a character"),
            pytest.param("%ED%A0%80", id="a lone surrogate"),
            pytest.param("%C0%80", id="an overlong NUL"),
            pytest.param("\xff", id="a raw byte beyond UTF-8"),
        ],
    )
    def test_what_is_not_utf8_is_refused(self, text: str) -> None:
        with pytest.raises(UnicodeDecodeError):
            decode(text)


class TestSplitQuery:
    @given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
    def test_what_is_encoded_comes_back(self, pairs: list[tuple[str, str]]) -> None:
        faults: Faults = []
        expected: dict[str, list[str]] = {}
        for name, value in pairs:
            expected.setdefault(name, []).append(value)
        assert split_query(urlencode(pairs).encode(), faults) == expected
        assert faults == []

    @pytest.mark.parametrize(
        ("query", "values"),
        [
            pytest.param(b"", {}, id="nothing"),
            pytest.param(b"&&a=1&", {"a": ["1"]}, id="empty pairs"),
            pytest.param(b"a", {"a": [""]}, id="no equals sign"),
            pytest.param(b"a=b=c", {"a": ["b=c"]}, id="two equals signs"),
            pytest.param(b"=x", {"": ["x"]}, id="no name"),
            pytest.param(b"a=1+2%2B3", {"a": ["1 2+3"]}, id="plus signs"),
            pytest.param(b"a=1;b=2", {"a": ["1;b=2"]}, id="a semicolon"),
            pytest.param("a=ä".encode(), {"a": ["ä"]}, id="raw UTF-8"),
        ],
    )
    def test_a_query_is_split(self, query: bytes, values: dict[str, list[str]]) -> None:
        faults: Faults = []
        assert (split_query(query, faults), faults) == (values, [])

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            pytest.param(
                b"a=%ff&b=1", "the query cannot be decoded: it is not UTF-8", id="not UTF-8"
            ),
            pytest.param(
                b"a=\xff&b=1", "the query cannot be decoded: it is not UTF-8", id="raw bytes"
            ),
            pytest.param(
                b"%=1&b=1",
                "the query cannot be decoded: a percent sign that starts no escape",
                id="a broken name",
            ),
            pytest.param(b"a=%00&b=1", "the query cannot be decoded: a NUL character", id="NUL"),
        ],
    )
    def test_what_cannot_be_decoded_is_a_fault(self, query: bytes, message: str) -> None:
        faults: Faults = []
        assert split_query(query, faults)["b"] == ["1"]
        assert faults == [{"in": "query", "pointer": "", "rule": "encoding", "message": message}]

    def test_more_parameters_than_anything_takes_are_one_fault(self) -> None:
        faults: Faults = []
        assert split_query(b"&".join([b"a=1"] * 1001), faults) == {}
        assert faults == [
            {
                "in": "query",
                "pointer": "",
                "rule": "maxItems",
                "message": "the query has more than 1000 parameters",
                "allowed": 1000,
            }
        ]


DOCUMENT: Any = {
    "components": {
        "schemas": {"Page": {"type": "integer", "minimum": 1}, "Day": {"format": "date"}}
    }
}
QUERY: Any = [
    {"name": "q", "in": "query", "schema": {"type": "string", "maxLength": 5}},
    {
        "name": "page",
        "in": "query",
        "schema": {"allOf": [{"$ref": "#/components/schemas/Page"}], "default": 1},
    },
    {"name": "price", "in": "query", "schema": {"type": "number"}},
    {"name": "open", "in": "query", "schema": {"type": "boolean"}},
    {"name": "since", "in": "query", "schema": {"type": "string", "format": "date-time"}},
    {
        "name": "until",
        "in": "query",
        "schema": {"type": "string", "format": "date", "default": "2026-01-02"},
    },
    {
        "name": "tag",
        "in": "query",
        "schema": {"type": "array", "maxItems": 2, "items": {"type": "integer"}, "default": []},
    },
    {
        "name": "days",
        "in": "query",
        "explode": False,
        "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Day"}},
    },
]
NOTHING: dict[str, Any] = {
    "q": None,
    "page": 1,
    "price": None,
    "open": None,
    "since": None,
    "until": date(2026, 1, 2),
    "tag": [],
    "days": None,
}


def read_query(query: bytes) -> tuple[dict[str, Any], Faults]:
    faults: Faults = []
    parameters = Parameters(DOCUMENT, "query", QUERY, Schemas(DOCUMENT))
    return parameters.read(split_query(query, faults), faults), faults


class TestReadQuery:
    def test_what_was_not_sent_has_its_default_or_is_none(self) -> None:
        assert read_query(b"") == (NOTHING, [])

    @pytest.mark.parametrize(
        ("query", "sent"),
        [
            pytest.param(b"q=a", {"q": "a"}, id="a text"),
            pytest.param(b"q=12", {"q": "12"}, id="a text of digits stays a text"),
            pytest.param(b"q=", {"q": ""}, id="an empty text"),
            pytest.param(b"page=12", {"page": 12}, id="an integer"),
            pytest.param(b"price=-1.50", {"price": -1.5}, id="a number"),
            pytest.param(b"price=-0", {"price": 0.0}, id="minus zero"),
            pytest.param(b"open=true", {"open": True}, id="true"),
            pytest.param(b"open=false", {"open": False}, id="false"),
            pytest.param(
                b"since=2026-01-02T03:04:05%2B01:00",
                {"since": datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)},
                id="a time",
            ),
            pytest.param(b"tag=1&tag=2", {"tag": [1, 2]}, id="a list"),
            pytest.param(
                b"days=2026-01-02,2026-01-03",
                {"days": [date(2026, 1, 2), date(2026, 1, 3)]},
                id="a list with commas, its formats parsed",
            ),
        ],
    )
    def test_what_was_sent_is_coerced_by_its_type(self, query: bytes, sent: dict[str, Any]) -> None:
        arguments, faults = read_query(query)
        assert (arguments, faults) == (NOTHING | sent, [])
        assert [repr(arguments[name]) for name in sent] == [repr(value) for value in sent.values()]

    @pytest.mark.parametrize(
        "number",
        [
            "",
            "x",
            "1.0",
            "1e3",
            "+1",
            "007",
            "0x1",
            "1_0",
            "٣",
            " 1",
            "9223372036854775808",
            "9" * 5000,
        ],
    )
    def test_what_is_no_integer_of_64_bits_is_refused(self, number: str) -> None:
        assert read_query(f"page={quote_plus(number)}".encode())[1] == [
            {
                "in": "query",
                "pointer": "/page",
                "rule": "type",
                "message": 'the value is not of type "integer"',
                "allowed": ["integer"],
            }
        ]

    @pytest.mark.parametrize("number", ["NaN", "inf", "1e999", ".5", "1.", "1,5", "9" * 5000])
    def test_what_is_no_number_is_refused(self, number: str) -> None:
        assert read_query(f"price={number}".encode())[1] == [
            {
                "in": "query",
                "pointer": "/price",
                "rule": "type",
                "message": 'the value is not of type "number"',
                "allowed": ["number"],
            }
        ]

    @pytest.mark.parametrize(
        ("query", "fault"),
        [
            pytest.param(
                b"page=-1",
                {
                    "in": "query",
                    "pointer": "/page",
                    "rule": "minimum",
                    "message": "the value is less than the minimum of 1",
                    "allowed": 1,
                },
                id="a negative page",
            ),
            pytest.param(
                b"open=1",
                {
                    "in": "query",
                    "pointer": "/open",
                    "rule": "type",
                    "message": 'the value is not of type "boolean"',
                    "allowed": ["boolean"],
                },
                id="a truth value in another spelling",
            ),
            pytest.param(
                b"until=0000-01-01",
                {
                    "in": "query",
                    "pointer": "/until",
                    "rule": "format",
                    "message": 'the value is not a "date"',
                    "allowed": "date",
                },
                id="a date that Python does not know",
            ),
            pytest.param(
                b"q=a&q=a",
                {
                    "in": "query",
                    "pointer": "/q",
                    "rule": "repeated",
                    "message": "the parameter stands more than once",
                },
                id="a repeated parameter",
            ),
            pytest.param(
                b"days=2026-01-02&days=2026-01-02",
                {
                    "in": "query",
                    "pointer": "/days",
                    "rule": "repeated",
                    "message": "the parameter stands more than once",
                },
                id="a repeated list with commas",
            ),
            pytest.param(
                b"a/b=1",
                {
                    "in": "query",
                    "pointer": "/a~1b",
                    "rule": "unknown",
                    "message": "the query parameter is unknown",
                    "allowed": [*NOTHING],
                },
                id="an unknown parameter",
            ),
            pytest.param(
                b"Page=1",
                {
                    "in": "query",
                    "pointer": "/Page",
                    "rule": "unknown",
                    "message": "the query parameter is unknown",
                    "allowed": [*NOTHING],
                },
                id="another case",
            ),
            pytest.param(
                b"tag=1&tag=x",
                {
                    "in": "query",
                    "pointer": "/tag/1",
                    "rule": "type",
                    "message": 'the value is not of type "integer"',
                    "allowed": ["integer"],
                },
                id="an item of a list",
            ),
        ],
    )
    def test_what_breaks_the_contract_is_a_fault(self, query: bytes, fault: dict[str, Any]) -> None:
        assert read_query(query)[1] == [fault]

    def test_all_faults_are_told_at_once(self) -> None:
        _, faults = read_query(b"page=0&q=toolong&x=1&open=?&price=%ff")
        assert sorted((fault["pointer"], fault["rule"]) for fault in faults) == [
            ("", "encoding"),
            ("/open", "type"),
            ("/page", "minimum"),
            ("/q", "maxLength"),
            ("/x", "unknown"),
        ]

    def test_a_default_that_one_request_changes_no_other_sees(self) -> None:
        faults: Faults = []
        parameters = Parameters(DOCUMENT, "query", QUERY, Schemas(DOCUMENT))
        parameters.read({}, faults)["tag"].append(1)
        assert parameters.read({}, faults)["tag"] == []


class TestReadPath:
    PARAMETERS: ClassVar[Any] = [
        {
            "name": "key",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        }
    ]

    def test_a_uuid_is_parsed(self) -> None:
        faults: Faults = []
        parameters = Parameters({}, "path", self.PARAMETERS, Schemas({}))
        text = "0198F2A0-0000-7000-8000-000000000000"
        assert parameters.read({"key": [text]}, faults) == {"key": UUID(text)}
        assert faults == []

    def test_a_segment_that_was_not_decoded_is_no_second_fault(self) -> None:
        faults: Faults = []
        Parameters({}, "path", self.PARAMETERS, Schemas({})).read({}, faults)
        assert faults == []


class TestReadHeaders:
    PARAMETERS: ClassVar[Any] = [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "schema": {"type": "string", "maxLength": 3},
        },
        {
            "name": "X-Count",
            "in": "header",
            "schema": {"type": "array", "items": {"type": "integer"}},
        },
    ]

    def read(self, headers: dict[bytes, bytes]) -> tuple[dict[str, Any], Faults]:
        faults: Faults = []
        parameters = Parameters({}, "header", self.PARAMETERS, Schemas({}))
        return parameters.read_headers(headers, faults), faults

    def test_headers_are_read_by_their_names_in_any_case(self) -> None:
        headers = {b"idempotency-key": b"abc", b"x-count": b"1, 2", b"x-other": b"?"}
        assert self.read(headers) == ({"Idempotency-Key": "abc", "X-Count": [1, 2]}, [])

    @pytest.mark.parametrize(
        ("headers", "rule", "message", "allowed"),
        [
            pytest.param({}, "required", "a value is missing", {}, id="missing"),
            pytest.param(
                {b"idempotency-key": b"abcd"},
                "maxLength",
                "the value is longer than 3 characters",
                {"allowed": 3},
                id="too long",
            ),
            pytest.param(
                {b"idempotency_key": b"abc"}, "required", "a value is missing", {}, id="underscore"
            ),
        ],
    )
    def test_faults_have_the_name_of_the_contract(
        self, headers: dict[bytes, bytes], rule: str, message: str, allowed: dict[str, Any]
    ) -> None:
        assert self.read(headers)[1] == [
            {"in": "header", "pointer": "/Idempotency-Key", "rule": rule, "message": message}
            | allowed
        ]


class TestForms:
    @pytest.mark.parametrize(
        "parameter",
        [
            pytest.param({"content": {"application/json": {}}}, id="content"),
            pytest.param({"schema": {}, "style": "deepObject"}, id="a style"),
        ],
    )
    def test_a_form_that_is_not_read_stops_the_start(self, parameter: dict[str, Any]) -> None:
        with pytest.raises(ContractError) as caught:
            Parameters({}, "query", [{"name": "q", "in": "query", **parameter}], Schemas({}))
        assert str(caught.value) == "the parameter 'q' has a form that is not read here"


def test_defaults_stand_for_what_was_not_sent() -> None:
    defaults = Defaults({"a": 1, "b": {"c": []}})
    defaults.fill({})["b"]["c"].append(1)
    assert defaults.fill({"a": None}) == {"a": None, "b": {"c": []}}
