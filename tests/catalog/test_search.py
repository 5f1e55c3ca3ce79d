"""Full-text search, on both engines."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from circdesk.catalog.authors import AUTHORS
from circdesk.catalog.book_filters import BookQuery
from circdesk.catalog.book_lists import list_books
from circdesk.catalog.books import create_book, delete_book, patch_book
from circdesk.catalog.search import index_books, text_row
from circdesk.db.pagination import Page

DARKNESS = {
    "title": "The Left Hand of Darkness",
    "authors": [{"name": "Le Guin, Ursula K."}],
    "isbns": ["9780441478125"],
    "subjects": [{"name": "Science fiction"}],
    "summary": "An envoy visits a world called Winter.",
}
POTTER = {"title": "The Dark Potter", "authors": [{"name": "Guin, Émile"}]}


def add(session: Session, **content: Any) -> UUID:
    plain = dict.fromkeys(("subtitle", "publisher", "year", "language", "summary", "edition"))
    lists: dict[str, Any] = {"authors": [], "isbns": [], "subjects": []}
    book = create_book(session, {**plain, **lists, "material_type": "book", **content})
    identity: UUID = book["id"]
    return identity


def search(session: Session, q: str | None, **asked: Any) -> Page:
    query: Any = dict.fromkeys(BookQuery.__annotations__)
    query |= {"page": 1, "per_page": 20, "q": q} | asked
    typed: BookQuery = query
    return list_books(session, typed)


def titles(session: Session, q: str | None, **asked: Any) -> list[str]:
    return [book["title"] for book in search(session, q, **asked).items]


class TestFinding:
    @pytest.mark.parametrize(
        "q",
        [
            "darkness left",
            "DÁRKNÉSS",
            "darkn",
            "le guin hand",
            "science winter",
            "wint*",
            "9780441478125",
            "0-441-47812-3",
            "ursula 978-0-441-47812-5",
        ],
    )
    def test_all_parts_of_a_book_are_searched(self, session: Session, q: str) -> None:
        add(session, **DARKNESS)
        add(session, title="Something else")

        assert titles(session, q) == ["The Left Hand of Darkness"]

    def test_all_words_must_match(self, session: Session) -> None:
        add(session, **DARKNESS)

        assert titles(session, "left foot") == []

    @pytest.mark.parametrize("q", ["left hand", "hand of dark", "left left", "hand émile 源氏"])
    def test_with_a_filter_the_same_is_found(self, session: Session, q: str) -> None:
        add(session, **DARKNESS, language="eng")
        add(session, title="Hand", subtitle="源氏", authors=[{"name": "Émile"}], language="eng")

        without, with_filter = search(session, q), search(session, q, language="eng")

        assert [book["id"] for book in without.items] == [book["id"] for book in with_filter.items]
        assert without.total == with_filter.total == 1

    def test_a_whole_word_counts_for_more_than_a_beginning(self, session: Session) -> None:
        add(session, **DARKNESS)
        add(session, **POTTER)

        assert titles(session, "dark") == ["The Dark Potter"]
        assert set(titles(session, "dark*")) == {"The Dark Potter", "The Left Hand of Darkness"}

    def test_the_whole_word_need_not_meet_the_other_filters(self, session: Session) -> None:
        add(session, **DARKNESS, language="eng")
        add(session, **POTTER, language="ger")

        assert titles(session, "dark", language="eng") == []

    @pytest.mark.parametrize(
        "q",
        [
            "***",
            "\"'",
            "'; DROP TABLE books; --",
            "a & b | !c <-> d:*A",
            'title : "x" NEAR(a b) ^ + - {col}',
            "(((((",
            "\\",
            "%s %(x)s :x",
            "\u0302\u00ad",
            "x" * 500,
            " ".join("abcdefghij" * 24),
        ],
    )
    @pytest.mark.parametrize("sort", ["relevance", "title"])
    def test_nothing_that_is_typed_is_a_fault(self, session: Session, q: str, sort: str) -> None:
        add(session, **DARKNESS)

        assert titles(session, q, title=q, author=q, sort=sort) == []
        assert titles(session, q, sort=sort) == []

    @pytest.mark.parametrize("word", ["and", "or", "not", "near"])
    def test_operators_are_words(self, session: Session, word: str) -> None:
        add(session, title=f"This {word} that")

        assert titles(session, f"that {word}") == [f"This {word} that"]

    @pytest.mark.parametrize(
        "title", ["日本語 文学", "हिन्दी कहानी", "Ӏ𞤀𞤁 𐐨𐑌", "1e5x 3.14 12a3", "الحَرْب"]
    )
    def test_every_script_is_searched(self, session: Session, title: str) -> None:
        add(session, title=title)
        add(session, title="Else")

        for word in title.split():
            assert titles(session, word) == [title]

    @pytest.mark.parametrize(
        ("q", "title"),
        [
            ("étranger", "L'Étranger"),
            ("l'étranger", "L'Étranger"),
            ("L\N{RIGHT SINGLE QUOTATION MARK}étranger", "L'Étranger"),
            ("letranger", "L'Étranger"),
            ("l'étr", "L'Étranger"),
            ("arte guerra", "Dell'arte della guerra"),
            ("dell'arte", "Dell'arte della guerra"),
            ("o'brien", "O'Brien"),
            ("obrien", "O'Brien"),
            ("o brien", "O'Brien"),
        ],
    )
    def test_words_are_found_on_either_side_of_an_apostrophe(
        self, session: Session, q: str, title: str
    ) -> None:
        for there in ("L'Étranger", "Dell'arte della guerra", "O'Brien"):
            add(session, title=there)

        assert titles(session, q) == [title]
        assert titles(session, None, title=q) == [title]

    @pytest.mark.parametrize("q", ["源", "源氏", "源氏物語"])
    def test_a_beginning_is_found_in_scripts_without_blanks(self, session: Session, q: str) -> None:
        add(session, title="源氏物語")
        add(session, title="吾輩は猫である")

        assert titles(session, q) == ["源氏物語"]

    def test_title_and_author_are_searched_in_their_part(self, session: Session) -> None:
        add(session, **DARKNESS)
        add(session, title="Guin and darkness", authors=[{"name": "Left, Hand"}])

        assert titles(session, None, author="ursul") == ["The Left Hand of Darkness"]
        assert titles(session, None, author="left") == ["Guin and darkness"]
        assert titles(session, None, title="left") == ["The Left Hand of Darkness"]
        assert titles(session, "darkness", author="guin") == ["The Left Hand of Darkness"]

    def test_a_name_of_two_authors_may_mix(self, session: Session) -> None:
        add(session, **DARKNESS)

        assert titles(session, None, author="guin ursula") == ["The Left Hand of Darkness"]


class TestRelevance:
    def test_a_title_counts_for_more_than_an_author_and_that_than_the_rest(
        self, session: Session
    ) -> None:
        add(session, title="Rest", summary="winter")
        add(session, title="Subject", subjects=[{"name": "Winter"}])
        add(session, title="Author", authors=[{"name": "Winter"}])
        add(session, title="Winter")

        assert titles(session, "winter") == ["Winter", "Author", "Subject", "Rest"]
        assert titles(session, "winter", sort="-relevance") == [
            "Rest",
            "Subject",
            "Author",
            "Winter",
        ]

    def test_pages_do_not_overlap(self, session: Session) -> None:
        added = {add(session, title="Winter") for _ in range(7)}

        pages = [search(session, "winter", page=number, per_page=3) for number in (1, 2, 3)]

        assert [page.total for page in pages] == [7, 7, 7]
        assert [page.has_next for page in pages] == [True, True, False]
        seen = [book["id"] for page in pages for book in page.items]
        assert len(seen) == 7
        assert set(seen) == added

    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"sort": "title"},
            {"sort": "-year"},
            {"page": 2},
            {"page": 9},
            {"sort": "title", "page": 9},
            {"language": "eng"},
            {"sort": "title", "language": "eng"},
            {"q": "wint"},
            {"q": "wint", "sort": "title"},
            {"q": "nothing", "sort": "title"},
            {"q": None},
            {"q": None, "page": 9},
            {"q": None, "available": True, "branch": "code:x", "subject": "winter"},
        ],
    )
    def test_it_takes_two_statements_at_most(
        self, session: Session, count_queries: Any, asked: dict[str, Any]
    ) -> None:
        for number in range(5):
            add(session, title=f"Winter {number}", authors=[{"name": f"Author {number}"}])
        with count_queries() as statements:
            search(session, **dict[str, Any]({"q": "winter", "per_page": 2} | asked))

        assert len(statements) <= 2

    def test_more_than_ten_thousand_matches_are_not_counted(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("circdesk.catalog.search.CANDIDATES", 3)
        for number in range(6):
            add(session, title=f"Winter {number}")

        assert search(session, "winter").total == 4
        assert titles(session, "winter", sort="title", per_page=2) == ["Winter 0", "Winter 1"]
        assert titles(session, "wint", sort="-title", per_page=2) == ["Winter 5", "Winter 4"]


class TestSortedBySomethingElse:
    def test_cursors_walk_what_was_found(self, session: Session) -> None:
        expected = [f"Winter {number}" for number in range(5)]
        for title in reversed(expected):
            add(session, title=title)
        add(session, title="Summer")
        page = search(session, "winter", sort="title", per_page=2)
        seen = [book["title"] for book in page.items]
        while page.next_cursor:
            page = search(session, "winter", sort="title", per_page=2, cursor=page.next_cursor)
            seen += [book["title"] for book in page.items]

        assert seen == expected


class TestIndexBooks:
    def test_a_change_is_found_at_once(self, session: Session) -> None:
        book = add(session, **DARKNESS)
        patch_book(session, str(book), {"title": "Winter's King", "isbns": None})

        assert titles(session, "darkness") == []
        assert titles(session, "king") == ["Winter's King"]
        assert titles(session, "9780441478125") == []

    def test_a_new_name_of_an_author_is_found_at_once(self, session: Session) -> None:
        add(session, **DARKNESS)
        author = search(session, "darkness").items[0]["authors"][0]["id"]
        AUTHORS.change(session, UUID(author), {"name": "Kroeber, Ursula"})

        assert titles(session, "kroeber") == ["The Left Hand of Darkness"]
        assert titles(session, "guin") == []

    def test_what_is_deleted_is_not_found(self, session: Session) -> None:
        book = add(session, **DARKNESS)
        delete_book(session, str(book))

        assert titles(session, "darkness") == []

    def test_variants_of_imports_stay(self, session: Session) -> None:
        book = add(session, **DARKNESS)
        variants = text_row("", None, (), (), (), ("Левая рука тьмы",))["variants"]
        session.execute(text("UPDATE book_texts SET variants = :new"), {"new": variants})
        patch_book(session, str(book), {"edition": "2nd ed."})

        assert titles(session, "левая рука") == ["The Left Hand of Darkness"]

    def test_unknown_books_are_left_out(self, session: Session) -> None:
        index_books(session, [UUID(int=1)])

        assert session.execute(text("SELECT count(*) FROM book_texts")).scalar_one() == 0
