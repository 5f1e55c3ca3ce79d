"""The visit that is being served."""

from uuid import UUID

import pytest

from circdesk.visits import (
    Caller,
    UserRequired,
    Visit,
    current_caller,
    current_user_id,
    current_visit,
    find_visit,
    visiting,
)

USER, KEY = UUID(int=1), UUID(int=2)
CALLER = Caller(frozenset({"news:write"}), "api_key", KEY, user_id=USER, role="member")
MACHINE = Caller(frozenset({"news:write"}), "bearer", KEY, client_id=UUID(int=3))


def visit(caller: Caller | None) -> Visit:
    return Visit(caller=caller, request_id="r", address="192.0.2.1")


def test_a_visit_is_the_current_one_for_its_block_alone() -> None:
    outer, inner = visit(None), visit(CALLER)
    assert find_visit() is None
    with visiting(outer):
        with visiting(inner):
            assert current_visit() is inner
            assert find_visit() is inner
        assert current_visit() is outer
    with pytest.raises(LookupError):
        current_visit()


def test_a_visit_ends_also_where_its_block_fails() -> None:
    def fail() -> None:
        with visiting(visit(CALLER)):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert find_visit() is None


def test_a_user_calls_with_an_id() -> None:
    with visiting(visit(CALLER)):
        assert current_caller() is CALLER
        assert current_user_id() == USER


def test_an_anonymous_visit_has_no_caller() -> None:
    with visiting(visit(None)), pytest.raises(LookupError, match="the caller is anonymous"):
        current_caller()


def test_a_client_that_acts_for_itself_is_no_user() -> None:
    with visiting(visit(MACHINE)), pytest.raises(UserRequired) as caught:
        current_user_id()
    assert caught.value.status == 403
    assert caught.value.message == "This credential belongs to a client, not to a person."


def test_a_caller_may_do_what_its_scopes_name() -> None:
    assert CALLER.may("news:write")
    assert not CALLER.may("news")
