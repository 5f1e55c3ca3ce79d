import re
from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circdesk.contract.router import Match, Router

TEMPLATES = (
    "/",
    "/api",
    "/api/books",
    "/api/books/facets",
    "/api/books/{book}",
    "/api/books/{book}/copies",
    "/api/books/facets/help",
    "/api/{noun}/count",
    "/api/{noun}/{key}/copies",
)


def make_router() -> Router[str]:
    return Router(
        (method, path, f"{method} {path}") for path in TEMPLATES for method in ("GET", "PUT")
    )


class TestFind:
    @pytest.mark.parametrize(
        ("path", "template", "segments"),
        [
            pytest.param("/", "/", (), id="the root"),
            pytest.param("/api/books", "/api/books", (), id="a literal path"),
            pytest.param("/api/books/1", "/api/books/{book}", ("1",), id="a parameter"),
            pytest.param("/api/books/facets", "/api/books/facets", (), id="a literal wins"),
            pytest.param(
                "/api/books/facets/help", "/api/books/facets/help", (), id="a literal wins deep"
            ),
            pytest.param(
                "/api/books/facets/copies",
                "/api/books/{book}/copies",
                ("facets",),
                id="a literal that leads nowhere gives way",
            ),
            pytest.param(
                "/api/books/count", "/api/books/{book}", ("count",), id="the earlier literal wins"
            ),
            pytest.param(
                "/api/x/y/copies", "/api/{noun}/{key}/copies", ("x", "y"), id="two parameters"
            ),
            pytest.param(
                "/api/books/a%2Fb", "/api/books/{book}", ("a%2Fb",), id="an encoded slash"
            ),
            pytest.param("/api/books/%zz", "/api/books/{book}", ("%zz",), id="a broken escape"),
            pytest.param("/api/%62ooks", "/api/books", (), id="an encoded literal"),
            pytest.param(
                "/api/books/%66acets", "/api/books/facets", (), id="an encoded literal wins"
            ),
            pytest.param("/api/books/..", "/api/books/{book}", ("..",), id="dots are no way up"),
        ],
    )
    def test_a_path_is_found(self, path: str, template: str, segments: tuple[str, ...]) -> None:
        assert make_router().find(path) == Match(
            {"GET": f"GET {template}", "PUT": f"PUT {template}"}, segments
        )

    @pytest.mark.parametrize(
        "path",
        [
            pytest.param("", id="nothing"),
            pytest.param("*", id="an asterisk"),
            pytest.param("api", id="no slash"),
            pytest.param("//", id="two slashes"),
            pytest.param("/api/", id="a trailing slash"),
            pytest.param("/api//books", id="a doubled slash"),
            pytest.param("/api/books/", id="an empty parameter"),
            pytest.param("/api/books//copies", id="an empty parameter inside"),
            pytest.param("/api%2Fbooks", id="an encoded slash between literals"),
            pytest.param("/API", id="another case"),
            pytest.param("/api/books/1/2/3", id="too long"),
            pytest.param("/" * 100_000, id="very many slashes"),
            pytest.param("/api/{noun}", id="a template's own beginning"),
            pytest.param("/api/%ff", id="a literal that is not UTF-8"),
        ],
    )
    def test_anything_else_is_not(self, path: str) -> None:
        assert make_router().find(path) is None


SEGMENTS = st.sampled_from(
    ["api", "books", "facets", "help", "copies", "count", "1", "", "%62ooks"]
)


def naive(path: str) -> tuple[str, tuple[str, ...]] | None:
    """Every template is tried; of those that match, the one with the earliest literals wins."""
    found = []
    for template in TEMPLATES:
        pattern = re.sub(r"\\{[^}]+\\}", "([^/]+)", re.escape(template))
        if match := re.fullmatch(pattern, path):
            shape = [segment.startswith("{") for segment in template.split("/")]
            found.append((shape, template, match.groups()))
    return min(found)[1:] if found else None


@given(st.lists(SEGMENTS, max_size=5))
def test_the_router_finds_what_a_naive_one_finds(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    plain = path.replace("%62", "b")
    found, expected = make_router().find(path), naive(plain)
    if expected is None:
        assert found is None
    else:
        template, values = expected
        assert found is not None
        assert found.methods["GET"] == f"GET {template}"
        assert tuple(value.replace("%62", "b") for value in found.segments) == values


@given(st.text(min_size=1))
def test_any_identifier_comes_back_as_it_was_sent(identifier: str) -> None:
    raw = quote(identifier.encode("utf-8", "replace"), safe="")
    match = make_router().find(f"/api/books/{raw}/copies")
    assert match is not None
    assert match.segments == (raw,)


class TestMakeRouter:
    @pytest.mark.parametrize(
        ("first", "second"),
        [*product(["/a/{b}"], ["/a/{b}", "/a/{c}"]), ("/a", "/a")],
    )
    def test_two_routes_for_one_path_are_refused(self, first: str, second: str) -> None:
        with pytest.raises(ValueError) as caught:
            Router([("GET", first, 1), ("GET", second, 2)])
        assert str(caught.value) == f"{second}: another route answers GET there"

    @pytest.mark.parametrize(
        ("template", "segment"), [("/a/{b}.json", "{b}.json"), ("/x{b}", "x{b}")]
    )
    def test_a_segment_is_a_parameter_whole_or_not_at_all(
        self, template: str, segment: str
    ) -> None:
        with pytest.raises(ValueError) as caught:
            Router([("GET", template, 1)])
        assert str(caught.value) == f"{template}: {segment} is a parameter only in part"

    def test_methods_of_one_path_may_come_one_by_one(self) -> None:
        router = Router([("GET", "/a/{b}", 1), ("PUT", "/a/{b}", 2)])
        assert router.find("/a/x") == Match({"GET": 1, "PUT": 2}, ("x",))
