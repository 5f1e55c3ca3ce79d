"""What Flask's side of a request stores, and what it sends besides the handler's answer."""

from collections.abc import Callable
from typing import Any, ClassVar

import httpx
import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.auth.models import SignInFailure
from circdesk.auth.problems import CredentialsInvalid, challenge
from circdesk.auth.sessions import CLEAR_COOKIE, COOKIE
from circdesk.contract.answers import Answer
from circdesk.contract.door import Call
from circdesk.contract.environ import CALL
from circdesk.contract.forms import FormRequest, Reply, WebPage
from circdesk.contract.problems import Problem
from circdesk.contract.requests import InvalidRequest, NotFound
from circdesk.db.unit_of_work import Sessions, current_session
from circdesk.edge.views import make_page_view
from circdesk.news import posts
from circdesk.visits import Visit, current_visit

Expected = Callable[..., dict[str, Any]]
POST = {"title": "News", "body": "Text", "author": "Somebody"}
UNKNOWN = "019b8d2b-8c00-7001-8000-0000000000ff"


class Counted(InvalidRequest):
    """A refusal that keeps what was stored, under the code of another."""

    commits = True


class CountedAndUnauthorized(CredentialsInvalid):
    """The same, where a credential is not good."""

    commits = True


class CountedAndUndeclared(NotFound):
    """The same, with a status that the operation does not declare."""

    commits = True


def count_failure(session: Session, number: int = 1) -> None:
    failure = SignInFailure(subject=f"test-{number}", count=1, last_failed_at=clock.now())
    session.add(failure)


def failures(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(SignInFailure)).scalar_one()


@pytest.fixture
def refuse_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Problem], None]:
    """Lets `create_post` store something and then raise a problem."""

    def prepare(problem: Problem) -> None:
        def refuse(session: Session, _content: object) -> None:
            count_failure(session)
            raise problem

        monkeypatch.setattr(posts, "create_post", refuse)

    return prepare


class TestProblems:
    def test_a_problem_takes_back_what_was_stored_before_it(
        self, admin: httpx.Client, engine: Engine, refuse_with: Callable[..., None]
    ) -> None:
        refuse_with(InvalidRequest("No."))
        assert admin.post("/api/posts", json=POST).status_code == 400
        assert failures(engine) == 0

    def test_one_that_commits_keeps_it(
        self,
        admin: httpx.Client,
        engine: Engine,
        refuse_with: Callable[..., None],
        problem: Expected,
    ) -> None:
        refuse_with(Counted("No."))
        response = admin.post("/api/posts", json=POST)
        assert response.json() == problem(response, "invalid_request", "No.")
        assert failures(engine) == 1

    def test_one_that_the_contract_does_not_declare_keeps_nothing(
        self,
        admin: httpx.Client,
        engine: Engine,
        refuse_with: Callable[..., None],
        problem: Expected,
    ) -> None:
        refuse_with(CountedAndUndeclared("No."))
        response = admin.post("/api/posts", json=POST)
        assert response.json() == problem(response, "internal_error", "Something broke.")
        assert failures(engine) == 0


class TestPages:
    VISIT = Visit(caller=None, request_id="r", address="192.0.2.1")

    def ask(self, sessions: Sessions, view: Callable[[FormRequest], Reply]) -> Answer:
        page = WebPage("page", "POST", "/page", view)
        form = FormRequest("POST", "", {}, b"a=b")
        call = Call(page, {"body": form}, self.VISIT)
        return make_page_view(sessions, page)({CALL: call})

    def test_what_it_stored_stays_whatever_it_answers(
        self, sessions: Sessions, engine: Engine
    ) -> None:
        def refuse(form: FormRequest) -> Reply:
            assert (form.body, current_visit()) == (b"a=b", self.VISIT)
            count_failure(current_session())
            return Reply(400, {"Content-Type": "text/html; charset=utf-8"}, b"<p>No.</p>")

        answer = self.ask(sessions, refuse)
        assert (answer.status, answer.body) == (400, b"<p>No.</p>")
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert failures(engine) == 1

    def test_what_it_broke_over_is_not_stored(self, sessions: Sessions, engine: Engine) -> None:
        def fail(_form: FormRequest) -> Reply:
            count_failure(current_session())
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.ask(sessions, fail)
        assert failures(engine) == 0

    def test_a_redirect_goes_where_it_says(self, sessions: Sessions) -> None:
        answer = self.ask(sessions, lambda _form: Reply(303, {"Location": "/there?a=b"}))
        assert answer.headers["Location"] == "/there?a=b"


class TestStaleSessions:
    COOKIES: ClassVar = {"Cookie": f"{COOKIE}=of-yesterday"}

    def test_a_stale_cookie_counts_as_none_and_is_cleared(self, client: httpx.Client) -> None:
        response = client.get("/api/posts", headers=self.COOKIES)
        assert response.status_code == 200
        assert response.headers.get_list("Set-Cookie") == [CLEAR_COOKIE]

    def test_it_is_cleared_too_where_a_credential_is_needed(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.post("/api/posts", json=POST, headers=self.COOKIES)
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
        assert response.headers.get_list("Set-Cookie") == [CLEAR_COOKIE]

    @pytest.mark.parametrize(
        ("refusal", "status", "cookies"),
        [
            (Counted("No."), 400, []),
            (
                CountedAndUnauthorized("No.", headers=challenge(["Session"], basic=False)),
                401,
                [CLEAR_COOKIE],
            ),
        ],
    )
    def test_a_refusal_that_commits_clears_it_where_that_is_declared(
        self,
        client: httpx.Client,
        monkeypatch: pytest.MonkeyPatch,
        refusal: Problem,
        status: int,
        cookies: list[str],
    ) -> None:
        def refuse(*_: object) -> None:
            raise refusal

        monkeypatch.setattr(posts, "list_posts", refuse)
        response = client.get("/api/posts", headers=self.COOKIES)
        assert response.status_code == status
        assert response.headers.get_list("Set-Cookie") == cookies

    def test_whoever_sends_no_cookie_is_sent_none(self, client: httpx.Client) -> None:
        assert "Set-Cookie" not in client.get("/api/posts").headers

    def test_a_credential_in_a_header_counts_before_it(self, admin: httpx.Client) -> None:
        response = admin.post("/api/posts", json=POST, headers=self.COOKIES)
        assert response.status_code == 201
        assert "Set-Cookie" not in response.headers

    def test_where_credentials_are_ignored_so_is_the_cookie(self, client: httpx.Client) -> None:
        response = client.get("/api/health", headers=self.COOKIES)
        assert "Set-Cookie" not in response.headers
