"""Facets over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Expected = Callable[..., dict[str, Any]]


def add(admin: httpx.Client, **content: Any) -> dict[str, Any]:
    response = admin.post("/api/books", json={"title": "A book"} | content)
    assert response.status_code == 201, response.text
    book: dict[str, Any] = response.json()
    return book


class TestGetBookFacets:
    def test_an_empty_catalogue_has_none(self, client: httpx.Client) -> None:
        response = client.get("/api/books/facets")

        assert response.status_code == 200
        assert response.json() == {
            "total": 0,
            "total_relation": "exact",
            "sampled": False,
            "subjects": [],
            "languages": [],
            "years": [],
            "material_types": [],
        }

    def test_the_most_frequent_values_come_first(self, admin: httpx.Client) -> None:
        love, death = {"name": "Love"}, {"name": "Death"}
        book = add(admin, subjects=[love, death], language="eng", year=1969)
        add(admin, subjects=[love], language="ger", year=2001)
        add(admin, language="ger", year=1969, material_type="map")
        add(admin)
        ids = {subject["name"]: subject["id"] for subject in book["subjects"]}

        assert admin.get("/api/books/facets").json() == {
            "total": 4,
            "total_relation": "exact",
            "sampled": False,
            "subjects": [
                {"id": ids["Love"], "value": "Love", "count": 2},
                {"id": ids["Death"], "value": "Death", "count": 1},
            ],
            "languages": [{"value": "ger", "count": 2}, {"value": "eng", "count": 1}],
            "years": [{"value": 1969, "count": 2}, {"value": 2001, "count": 1}],
            "material_types": [{"value": "book", "count": 3}, {"value": "map", "count": 1}],
        }

    @pytest.mark.parametrize(
        ("query", "total"),
        [
            ({"q": "winter"}, 2),
            ({"q": "wint"}, 2),
            ({"q": "winter", "language": "ger"}, 1),
            ({"title": "winter"}, 1),
            ({"language": "ger", "year_from": 2000}, 1),
            ({"q": "***"}, 0),
        ],
    )
    def test_the_filters_are_those_of_the_list(
        self, admin: httpx.Client, query: dict[str, Any], total: int
    ) -> None:
        add(admin, title="Winter", language="eng")
        add(admin, summary="In winter", language="ger", year=2001)
        add(admin, language="ger")

        assert admin.get("/api/books/facets", params=query).json()["total"] == total
        assert admin.get("/api/books", params=query).json()["total"] == total

    @pytest.mark.parametrize("query", [{}, {"q": "book"}])
    def test_many_matches_are_sampled(
        self, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch, query: dict[str, str]
    ) -> None:
        monkeypatch.setattr("circdesk.catalog.facets.SAMPLE", 3)
        monkeypatch.setattr("circdesk.catalog.search.CANDIDATES", 3)
        for _ in range(5):
            add(admin)

        assert admin.get("/api/books/facets", params=query).json() == {
            "total": 3,
            "total_relation": "at_least",
            "sampled": True,
            "subjects": [],
            "languages": [],
            "years": [],
            "material_types": [{"value": "book", "count": 3}],
        }

    def test_it_takes_one_statement(self, admin: httpx.Client, count_queries: Any) -> None:
        add(admin, subjects=[{"name": "Love"}])
        with count_queries() as statements:
            admin.get("/api/books/facets?q=book&language=eng")

        assert len(statements) == 1

    def test_an_unknown_language_is_impossible(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get("/api/books/facets?language=qq")

        assert response.status_code == 422
        body = response.json()
        assert body == problem(
            response, "language_unknown", "'qq' is no language.", details=body["details"]
        )

    def test_a_bad_key_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/books/facets", headers={"X-API-Key": "wrong"})

        assert response.status_code == 401
        assert response.json() == problem(
            response, "credentials_invalid", "The API key is not valid."
        )
