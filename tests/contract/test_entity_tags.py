"""Entity tags and dates of conditional requests, as RFC 9110 has them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from circdesk.contract.entity_tags import (
    entity_tag,
    http_date,
    is_modified_since,
    listed_versions,
    lists_entity_tag,
)

TAG = '"2-00000001.7d865e959b246691"'
MOMENT = datetime(2026, 1, 5, 12, 0, 0, 999_999, tzinfo=UTC)


class TestEntityTag:
    def test_it_is_a_strong_tag_of_sixteen_hexadecimal_digits(self) -> None:
        tag = entity_tag("application/json", b"{}")
        assert len(tag) == 18
        assert int(tag.strip('"'), 16)

    def test_a_version_stands_before_the_hash(self) -> None:
        plain = entity_tag("application/json", b"{}")
        assert entity_tag("application/json", b"{}", "3-ab") == f'"3-ab.{plain[1:]}'

    def test_it_follows_the_bytes_and_the_media_type(self) -> None:
        tags = {
            entity_tag(media_type, body)
            for media_type in ("application/json", "text/plain")
            for body in (b"", b"{}", b"{} ")
        }
        assert len(tags) == 6


class TestIfNoneMatch:
    @pytest.mark.parametrize(
        "header",
        [TAG, f"W/{TAG}", f'"other", {TAG}', f'"a,b",W/{TAG} , "c"', f', {TAG} ,"d"', "*", " * "],
    )
    def test_it_lists_the_tag_weakly(self, header: str) -> None:
        assert lists_entity_tag(header, TAG)
        assert lists_entity_tag(header, f"W/{TAG}")

    @pytest.mark.parametrize("header", ["", '"other"', '"*"', "W/*", TAG.strip('"'), TAG[:-1]])
    def test_anything_else_does_not_list_it(self, header: str) -> None:
        assert not lists_entity_tag(header, TAG)

    def test_the_version_alone_is_not_enough(self) -> None:
        assert not lists_entity_tag('"2-00000001.0000000000000000"', TAG)


class TestIfMatch:
    @pytest.mark.parametrize(
        ("header", "versions"),
        [
            (TAG, frozenset({"2-00000001"})),
            (f'{TAG}, "3-00000001.ffff"', frozenset({"2-00000001", "3-00000001"})),
            (f' , {TAG},"x"', frozenset({"2-00000001"})),
            # Weak tags never match strongly.
            (f"W/{TAG}", frozenset()),
            ('"7d865e959b246691"', frozenset()),
            ('".7d865e959b246691"', frozenset({""})),
            ("2-00000001.7d865e959b246691", frozenset()),
            ("", frozenset()),
        ],
    )
    def test_the_versions_of_its_strong_tags_count(
        self, header: str, versions: frozenset[str]
    ) -> None:
        assert listed_versions(header) == versions

    @pytest.mark.parametrize("header", ["*", " * "])
    def test_a_star_is_any_version(self, header: str) -> None:
        assert listed_versions(header) is None

    def test_a_star_among_tags_is_none(self) -> None:
        assert listed_versions(f"*, {TAG}") == frozenset({"2-00000001"})


class TestDates:
    def test_a_moment_is_written_in_whole_seconds_of_gmt(self) -> None:
        assert http_date(MOMENT) == "Mon, 05 Jan 2026 12:00:00 GMT"
        elsewhere = MOMENT.astimezone(timezone(timedelta(hours=9)))
        assert http_date(elsewhere) == "Mon, 05 Jan 2026 12:00:00 GMT"

    @pytest.mark.parametrize(
        ("header", "modified"),
        [
            ("Mon, 05 Jan 2026 12:00:00 GMT", False),
            ("Mon, 05 Jan 2026 12:00:01 GMT", False),
            ("Mon, 05 Jan 2026 11:59:59 GMT", True),
            # The two obsolete forms must be read too (RFC 9110, 5.6.7).
            ("Monday, 05-Jan-26 12:00:00 GMT", False),
            ("Mon Jan  5 12:00:00 2026", False),
            ("Mon, 05 Jan 2026 12:00:00 -0000", False),
            # What is no date does not count.
            ("yesterday", True),
            ("", True),
            ("Mon, 99 Jan 2026 12:00:00 GMT", True),
            ("Mon, 05 Jan 99999 12:00:00 GMT", True),
        ],
    )
    def test_a_moment_is_compared_with_the_header(self, header: str, *, modified: bool) -> None:
        assert is_modified_since(header, MOMENT) is modified
