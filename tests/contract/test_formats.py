from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circdesk.contract.formats import (
    PARSERS,
    parse_date,
    parse_date_time,
    parse_structured_string,
)
from circdesk.contract.schemas import Schemas, Violation


class TestParseDateTime:
    @pytest.mark.parametrize(
        ("text", "parsed"),
        [
            ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ("2026-01-02T03:04:05.678901234+01:30", datetime(2026, 1, 2, 1, 34, 5, 678901, UTC)),
            ("0001-01-01T00:00:00-00:01", datetime(1, 1, 1, 0, 1, tzinfo=UTC)),
        ],
    )
    def test_a_time_is_read_in_utc(self, text: str, parsed: datetime) -> None:
        assert parse_date_time(text) == parsed
        assert parse_date_time(text).tzinfo is UTC

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("2026-01-02", id="a date"),
            pytest.param("2026-01-02T03:04:05", id="no offset"),
            pytest.param("2026-01-02 03:04:05Z", id="a space"),
            pytest.param("2026-02-30T03:04:05Z", id="no such day"),
            pytest.param("2026-01-02T24:00:00Z", id="hour 24"),
            pytest.param("2026-01-02T23:59:60Z", id="a leap second"),
            pytest.param("2026-01-02T03:04:05+12:75", id="an offset of 75 minutes"),
            pytest.param("2026-01-02T03:04:05+24:00", id="an offset of a day"),
            pytest.param("0000-01-01T00:00:00Z", id="year 0"),
            pytest.param("0001-01-01T00:00:00+00:01", id="year 0 in UTC"),
            pytest.param("9999-12-31T23:59:59-00:01", id="year 10000 in UTC"),
            pytest.param("2026-01-02T03:04:05Z\n", id="a line feed"),
            pytest.param("٢٠٢٦-01-02T03:04:05Z", id="digits of another script"),
            pytest.param("", id="nothing"),
        ],
    )
    def test_anything_else_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError):
            parse_date_time(text)


class TestParseDate:
    def test_a_date_is_read(self) -> None:
        assert parse_date("2026-01-02") == date(2026, 1, 2)

    @pytest.mark.parametrize(
        "text", ["20260102", "2026-W01-1", "2026-1-2", "0000-01-01", "2026-02-30"]
    )
    def test_anything_else_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError):
            parse_date(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [("a-key", "a-key"), ('"a key"', "a key"), (r'"a \"b\" \\ c"', r'a "b" \ c'), ('""', "")],
)
def test_a_structured_string_says_what_is_within_it(text: str, said: str) -> None:
    assert parse_structured_string(text) == said


CHECKS = {name: Schemas({}).compile({"type": "string", "format": name}) for name in PARSERS}


class TestFormats:
    @pytest.mark.parametrize("name", PARSERS)
    @given(
        text=st.one_of(
            st.text(), st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]\Z"), st.uuids().map(str)
        )
    )
    def test_what_a_check_lets_pass_its_parser_reads(self, name: str, text: str) -> None:
        if CHECKS[name].is_valid(text):
            assert PARSERS[name](text) is not None

    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("date-time", "2026-01-02T03:04:05Z", "2026-01-02"),
            ("date-time", "2026-01-02T03:04:05Z", "0000-01-02T03:04:05Z"),
            ("date", "2026-01-02", "0000-01-01"),
            ("uuid", "0198f2a0-0000-7000-8000-000000000000", "0198f2a0000070008000000000000000"),
            ("uri", "https://example.org/a", "no uri"),
            ("email", "ada@example.org", "ada"),
            ("time-zone", "Europe/Berlin", "Europe/Nowhere"),
        ],
    )
    def test_formats_are_checked(self, name: str, good: str, bad: str) -> None:
        check = Schemas({}).compile({"type": "string", "format": name})
        assert (check.is_valid(good), check.is_valid(bad)) == (True, False)
        assert [*check.violations(bad)] == [
            Violation("", "format", f'the value is not a "{name}"', name)
        ]

    def test_unknown_formats_are_let_be(self) -> None:
        assert Schemas({}).compile({"type": "string", "format": "cursor"}).is_valid("x")

    def test_answers_are_checked_for_formats_too(self) -> None:
        check = Schemas({}).compile({"type": "string", "format": "date-time"}, answered=True)
        assert (check.is_valid("2026-01-02T03:04:05Z"), check.is_valid("today")) == (True, False)

    def test_parsers_make_python_values(self) -> None:
        text = "0198f2a0-0000-7000-8000-000000000000"
        assert PARSERS["uuid"](text) == UUID(text)
