"""What belongs to somebody else is not there for others, by whichever operation."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, func, select

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.models import ApiKey, Consent, WebSession
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.catalog.demo.identities import Kind, demo_id
from circdesk.catalog.demo.seeding import seed_demo
from circdesk.circulation.models import Fee, Hold, Loan, Notice
from circdesk.contract.operations import Operation
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.auth.columns import OWNED, STRICT, UNKNOWN_ID, good
from tests.contract.documented_desk import store_documented_desk
from tests.people import LIBRARIAN_ID, MEMBER_ID, api_key


def deed_of_the_member() -> Event:
    """What the member did: placed the hold of the documented desk."""
    return Event(
        id=demo_id(Kind.EVENT, 3),
        kind="hold.place",
        subject_type="hold",
        subject_id=demo_id(Kind.HOLD, 1),
        actor_type="user",
        actor_id=MEMBER_ID,
        data={},
        occurred_at=clock.now(),
    )


class TestWhatIsSomebodyElses:
    @pytest.fixture
    def ids(self, people: None, engine: Engine, sessions: Sessions) -> dict[str, UUID]:
        """The member's account, and one of each thing that belongs to the member."""
        del people
        seed_demo(sessions)
        with unit_of_work(sessions, writing=True) as session:
            store_documented_desk(session, member=MEMBER_ID, librarian=LIBRARIAN_ID)
            session.add(deed_of_the_member())
        owned: dict[str, Any] = {
            "key_id": ApiKey,
            "session_id": WebSession,
            "consent_id": Consent,
            "loan_id": Loan,
            "hold_id": Hold,
            "fee_id": Fee,
            "notice_id": Notice,
        }
        with engine.connect() as connection:
            found = {
                name: connection.execute(
                    select(model.id).where(model.user_id == MEMBER_ID)
                ).scalar_one()
                for name, model in owned.items()
            }
        return {"user_id": MEMBER_ID, "event_id": demo_id(Kind.EVENT, 3), **found}

    def test_it_is_as_if_it_were_not_there(
        self, ids: dict[str, UUID], client: httpx.Client, engine: Engine
    ) -> None:
        client.headers["X-API-Key"] = api_key("other")
        before = self.count(engine)
        wrong = []
        for operation in self.operations():
            answers = {
                self.ask(client, operation, ids),
                self.ask(client, operation, dict.fromkeys(ids, UNKNOWN_ID)),
            }
            if len(answers) > 1 or {status for status, *_ in answers} != {404}:
                wrong.append((operation.operation_id, answers))
        assert wrong == []
        assert self.count(engine) == before

    def test_there_are_such_operations(self) -> None:
        names = {operation.operation_id for operation in self.operations()}
        assert names == {
            *("get_user", "export_user"),
            *("list_user_loans", "list_user_holds", "list_user_fees", "get_user_balance"),
            *("get_loan", "renew_loan", "get_hold", "update_hold", "cancel_hold"),
            *("get_fee", "list_fee_entries", "update_my_notice", "reverse_event"),
            *("get_api_key", "update_api_key", "revoke_api_key", "rotate_api_key"),
            *("delete_my_session", "delete_my_consent"),
        }

    def operations(self) -> list[Operation]:
        """Those that a member may call, and that lead to what belongs to somebody."""
        passes = good(ROLE_SCOPES["member"], "ApiKey")
        return [
            operation
            for operation in STRICT
            if OWNED.intersection(operation.path_parameters.names) and passes(operation) == 400
        ]

    def ask(
        self, client: httpx.Client, operation: Operation, ids: Mapping[str, UUID]
    ) -> tuple[int, str, str]:
        """Status, code and message, the latter without the id."""
        (name,) = operation.path_parameters.names
        path = operation.path.replace(f"{{{name}}}", str(ids[name]))
        headers = {}
        if operation.body is not None:
            headers["Content-Type"] = next(iter(operation.body.checks))
        content = b"{}" if operation.body else None
        response = client.request(operation.method, path, content=content, headers=headers)
        body = response.json() if response.content else {"code": "", "message": ""}
        return response.status_code, body["code"], body["message"].replace(str(ids[name]), "")

    def count(self, engine: Engine) -> list[int]:
        with engine.connect() as connection:
            return [
                connection.execute(select(func.count()).select_from(model)).scalar_one()
                for model in (User, ApiKey, WebSession, Consent, Loan, Hold, Fee, Notice, Event)
            ]
