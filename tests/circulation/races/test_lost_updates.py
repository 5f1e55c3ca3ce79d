"""Many who change the same thing at once, on four processes and both databases: nothing is lost.

Of those who name a version one wins for each version. Who names none wins always, and overwrites
what it names and nothing else.
"""

import httpx
import pytest

from tests.circulation.races.desk import LONG, Check, Desk, only_success, statuses
from tests.circulation.races.service import JSON, Call

ROUNDS = 50 if LONG else 5
WRITERS = 8

BOOKS = ("/api/books", {"title": "Solaris"})
MADE: dict[str, tuple[str, JSON, str]] = {
    "author": ("/api/authors", {"name": "Lem"}, "name"),
    "book": (*BOOKS, "title"),
    "branch": ("/api/branches", {"code": "north", "name": "North", "time_zone": "UTC"}, "name"),
    "loan_policy": (
        "/api/loan-policies",
        {"name": "All", "period_unit": "days", "period_length": 28, "material_type": "map"},
        "name",
    ),
    "post": ("/api/posts", {"title": "Open", "body": "Again", "author": "Us"}, "title"),
    "user": ("/api/users", {"name": "Ada"}, "name"),
}


def create(desk: Desk, path: str, body: JSON) -> str:
    """Create something; its path."""
    answer = desk.service.send(Call("POST", path, desk.staff, body))
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def read(desk: Desk, path: str, slot: int = 0) -> httpx.Response:
    return desk.service.send(Call("GET", path, desk.staff), slot)


def patch(desk: Desk, path: str, body: JSON, tag: str | None = None) -> Call:
    condition = {} if tag is None else {"If-Match": tag}
    return Call("PATCH", path, desk.staff | condition, body)


@pytest.mark.parametrize("noun", MADE)
def test_of_all_who_change_one_version_one_wins(desk: Desk, noun: str) -> None:
    path, body, field = MADE[noun]
    path = create(desk, path, body)
    for number in range(ROUNDS):
        tag = read(desk, path).headers["ETag"]
        values = [f"Number {number} of writer {writer}" for writer in range(WRITERS)]

        answers = desk.service.at_once([patch(desk, path, {field: v}, tag) for v in values])

        winner = only_success(answers)
        assert statuses(answers) == {200: 1, 412: WRITERS - 1}
        present = read(desk, path)
        assert present.json()[field] == values[winner]
        assert {each.headers["ETag"] for each in answers if not each.is_success} == {
            present.headers["ETag"]
        }


def test_of_all_who_replace_one_version_one_wins(desk: Desk) -> None:
    path = create(desk, *BOOKS)
    for number in range(ROUNDS):
        headers = desk.staff | {"If-Match": read(desk, path).headers["ETag"]}
        titles = [f"Number {number} of writer {writer}" for writer in range(WRITERS)]

        answers = desk.service.at_once(
            [Call("PUT", path, headers, {"title": title}) for title in titles]
        )

        assert statuses(answers) == {200: 1, 412: WRITERS - 1}
        assert read(desk, path).json()["title"] == titles[only_success(answers)]


def test_what_many_count_up_is_as_many_as_they_were(desk: Desk) -> None:
    path = create(desk, "/api/books", {"title": "Solaris", "year": 1})
    waiting = list(range(WRITERS))
    while waiting:
        known = [read(desk, path, slot) for slot in waiting]

        answers = desk.service.at_once(
            [
                patch(desk, path, {"year": each.json()["year"] + 1}, each.headers["ETag"])
                for each in known
            ]
        )

        # Each round somebody gets on, so that this ends.
        only_success(answers)
        waiting = waiting[1:]
    assert read(desk, path).json()["year"] == 1 + WRITERS


def test_who_names_no_version_overwrites_only_what_it_names(desk: Desk) -> None:
    path = create(desk, *BOOKS)
    for number in range(ROUNDS):
        before = read(desk, path)
        year, publisher, edition = 1900 + number, f"Publisher {number}", f"Edition {number}"

        answers = desk.service.at_once(
            [
                patch(desk, path, {"year": year}, before.headers["ETag"]),
                patch(desk, path, {"publisher": publisher}),
                patch(desk, path, {"edition": edition}),
            ]
        )

        careful, *others = answers
        assert statuses(others) == {200: 2}
        assert careful.status_code in {200, 412}
        after = read(desk, path).json()
        assert (after["publisher"], after["edition"]) == (publisher, edition)
        assert after["year"] == (year if careful.is_success else before.json()["year"])


def test_a_librarian_and_a_borrower_at_the_same_copy(desk: Desk, check_invariants: Check) -> None:
    desk.library.policy()
    user = desk.library.user()
    for number in range(ROUNDS):
        copy = desk.copy()
        path, mark = f"/api/copies/{copy}", f"LEM {number}"
        tag = read(desk, path).headers["ETag"]

        lent, marked = desk.service.at_once(
            [desk.check_out(user, copy), patch(desk, path, {"shelf_mark": mark}, tag)]
        )

        assert lent.status_code == 201
        assert marked.status_code in {200, 412}
        after = read(desk, path).json()
        assert after["status"] == "on_loan"
        assert after["shelf_mark"] == (mark if marked.is_success else None)
        check_invariants(written_down=True)


def test_one_who_deletes_and_one_who_changes_the_same_version(desk: Desk) -> None:
    for number in range(ROUNDS):
        path = create(desk, "/api/books", {"title": f"Book {number}"})
        tag = read(desk, path).headers["ETag"]
        deletion = Call("DELETE", path, desk.staff | {"If-Match": tag})

        deleted, changed = desk.service.at_once([deletion, patch(desk, path, {"year": 1961}, tag)])

        assert (deleted.status_code, changed.status_code) in {(204, 404), (412, 200)}
        assert read(desk, path).status_code == (404 if deleted.is_success else 200)
