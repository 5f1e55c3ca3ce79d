"""Many who want at once what there is only so much of, on four processes and both databases.

What is rare shows up in long runs only: `TEST_LONG=1` asks ten times as often.
"""

from collections import Counter
from collections.abc import Sequence

import httpx

from tests.circulation.races.desk import LONG, Check, Desk, statuses
from tests.circulation.races.service import blockers

ROUNDS = 200 if LONG else 20


def refusals(answers: Sequence[httpx.Response]) -> Counter[tuple[str, ...]]:
    """The blockers of those that were refused."""
    return Counter(tuple(blockers(each)) for each in answers if not each.is_success)


def test_of_twenty_check_outs_at_once_fifteen_succeed(desk: Desk, check_invariants: Check) -> None:
    desk.library.policy(max_loans=15, self_service=True)
    # Copies of one title are lent one after the other anyway.
    books = [desk.library.book() for _ in range(20)]
    for _ in range(ROUNDS):
        user = desk.library.user()
        headers = desk.library.key(user)
        copies = [desk.library.copy(book, desk.branch) for book in books]

        answers = desk.service.at_once([desk.check_out(user, copy, headers) for copy in copies])

        assert statuses(answers) == {201: 15, 409: 5}
        assert refusals(answers) == {("loan_limit",): 5}
        check_invariants(written_down=True)


def test_of_fifty_who_want_the_last_copy_one_gets_it(desk: Desk, check_invariants: Check) -> None:
    desk.library.policy(self_service=True)
    book = desk.library.book()
    users = [desk.library.user() for _ in range(50)]
    keys = [desk.library.key(user) for user in users]
    for _ in range(ROUNDS):
        copy = desk.library.copy(book, desk.branch)

        callers = zip(users, keys, strict=True)
        answers = desk.service.at_once([desk.check_out(user, copy, key) for user, key in callers])

        assert statuses(answers) == {201: 1, 409: 49}
        assert refusals(answers) == {("copy_on_loan",): 49}
        check_invariants(written_down=True)


def test_of_eight_holds_at_once_three_succeed(desk: Desk, check_invariants: Check) -> None:
    desk.library.policy(max_holds=3)
    books = [desk.library.book() for _ in range(8)]
    for book in books:
        desk.library.copy(book, desk.branch, status="in_transit")
    for _ in range(ROUNDS // 2):
        user = desk.library.user()

        answers = desk.service.at_once([desk.hold(user, book) for book in books])

        assert statuses(answers) == {201: 3, 409: 5}
        assert refusals(answers) == {("hold_limit",): 5}
        check_invariants(written_down=True)


def test_of_eight_who_hold_a_title_each_has_a_place(desk: Desk, check_invariants: Check) -> None:
    desk.library.policy()
    users = [desk.library.user() for _ in range(8)]
    for _ in range(ROUNDS // 2):
        book = desk.library.book()
        desk.library.copy(book, desk.branch, status="in_transit")

        answers = desk.service.at_once([desk.hold(user, book) for user in users])

        assert statuses(answers) == {201: 8}
        given = sorted(answer.json()["hold"]["position"] for answer in answers)
        assert given == [*range(1, 9)]
        assert [hold["position"] for hold in desk.queue(book)] == given
        check_invariants(written_down=True)
