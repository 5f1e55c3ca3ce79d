"""The desk as a test comes to it: with the functions of the service, or over HTTP, all the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import httpx
import orjson
from sqlalchemy.orm import Session

from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.circulation import actions, undoing
from circdesk.circulation.check_outs import check_out_copy
from circdesk.circulation.holds.ending import cancel_hold
from circdesk.circulation.holds.placing import place_hold
from circdesk.circulation.renewals import renew_loan
from circdesk.circulation.returns import return_copy
from circdesk.contract.problems import Problem
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.visits import Caller, Visit, visiting

JSON = dict[str, Any]

NOT_THE_ASSISTANTS = {"circulation:override", "fees:write", "policies:write"}
SCOPES: Mapping[str, frozenset[str]] = {
    "librarian": ROLE_SCOPES["librarian"],
    "assistant": ROLE_SCOPES["librarian"] - NOT_THE_ASSISTANTS,
    "member": ROLE_SCOPES["member"],
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the desk has answered: the status that HTTP has for it, and the body."""

    status: int
    body: JSON

    @property
    def is_success(self) -> bool:
        """Whether it was done."""
        return self.status < 300

    @property
    def code(self) -> str | None:
        """The code of the problem."""
        return self.body.get("code")


class Desk(Protocol):
    """What a caller can do; each is a request of its own."""

    def ask(self, caller: Caller, question: JSON) -> Answer:
        """What would become of an action."""

    def do(self, caller: Caller, question: JSON, plan_token: str | None) -> Answer:
        """Act, as the question has it."""

    def undo(self, caller: Caller, event_id: str) -> Answer:
        """Take an action back."""


def plain(body: Any) -> Any:
    """A body as JSON has it."""
    return orjson.loads(orjson.dumps(body, option=orjson.OPT_UTC_Z))


class Inside:
    """Calls the functions of the service, each in a unit of work."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def ask(self, caller: Caller, question: JSON) -> Answer:
        return self.call(
            caller, lambda session: actions.decide(session, caller, question), writing=False
        )

    def do(self, caller: Caller, question: JSON, plan_token: str | None) -> Answer:
        body = _live(question, plan_token)
        calls: Mapping[str, Callable[[Session], Any]] = {
            "check_out": lambda session: check_out_copy(session, caller, body),
            "return": lambda session: return_copy(session, caller, body),
            "renew": lambda session: renew_loan(session, caller, UUID(question["loan"]), body),
            "place_hold": lambda session: place_hold(session, caller, body),
            "cancel_hold": lambda session: cancel_hold(
                session, caller, UUID(question["hold"]), body
            ),
        }
        return self.call(caller, calls[question["action"]])

    def undo(self, caller: Caller, event_id: str) -> Answer:
        return self.call(caller, lambda session: undoing.reverse_event(session, UUID(event_id)))

    def call(
        self, caller: Caller, call: Callable[[Session], Any], *, writing: bool = True
    ) -> Answer:
        """Call a function of the service as this caller; what it raises is no answer but a bug."""
        with visiting(Visit(caller, "none")):
            try:
                with unit_of_work(self._sessions, writing=writing) as session:
                    body = call(session)
            except Problem as problem:
                if problem.status >= 500:
                    raise
                return Answer(problem.status, plain(problem.body(instance="/", request_id="none")))
        return Answer(200, plain(body))


class Outside:
    """Sends requests to the service."""

    _PATHS: Mapping[str, str] = {
        "check_out": "loans",
        "return": "returns",
        "renew": "loans/{loan}/renewals",
        "place_hold": "holds",
        "cancel_hold": "holds/{hold}/cancellations",
    }

    def __init__(self, client: httpx.Client, keys: Callable[[Caller], dict[str, str]]) -> None:
        self._client = client
        self._keys = keys

    def ask(self, caller: Caller, question: JSON) -> Answer:
        return self._send(caller, "decisions", question)

    def do(self, caller: Caller, question: JSON, plan_token: str | None) -> Answer:
        path = self._PATHS[question["action"]].format(**question)
        return self._send(caller, path, _live(question, plan_token))

    def undo(self, caller: Caller, event_id: str) -> Answer:
        return self._send(caller, f"events/{event_id}/reversals", None)

    def _send(self, caller: Caller, path: str, body: JSON | None) -> Answer:
        response = self._client.post(f"/api/{path}", json=body, headers=self._keys(caller))
        assert response.status_code < 500, response.text
        return Answer(response.status_code, response.json())


def _live(question: JSON, plan_token: str | None) -> JSON:
    """The body of the live call; what its path says is not in it."""
    elsewhere = {"action"} | {"renew": {"loan"}, "cancel_hold": {"hold"}}.get(
        question["action"], set()
    )
    body = {name: value for name, value in question.items() if name not in elsewhere}
    return body if plan_token is None else body | {"plan_token": plan_token}
