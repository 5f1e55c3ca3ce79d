"""Nothing secret is in a log, an error, a URL of the log, or a repr.

That nothing is in what a whole run of the tests writes, `tests/conftest.py` watches; here is shown
that it does, and what else may be looked at.
"""

import dataclasses
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, String, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from circdesk.auth.passwords import hashing
from circdesk.auth.secrets import new_secret
from circdesk.contract.door import Call
from circdesk.contract.forms import FormRequest, Reply, WebPage
from circdesk.contract.requests import InvalidRequest
from circdesk.db.base import Base
from circdesk.settings import Settings
from circdesk.visits import Caller, Visit
from tests.access_lines import access_lines, logs_of_requests
from tests.people import api_key
from tests.secrecy import SECRETS

MARK = "a-secret-that-nobody-may-see"
# The registry is a set, and every worker must find the tests in the same order.
MODELS = sorted((mapper.class_ for mapper in Base.registry.mappers), key=lambda m: m.__name__)


class TestWatch:
    def test_secrets_that_the_service_makes_are_known(self) -> None:
        assert SECRETS.find(f"It is {new_secret('cdk_')}.")

    def test_keys_of_tests_and_passwords_are_known(self) -> None:
        with hashing() as hasher:
            stored = hasher.hash("a password of this test")
            hasher.verify(stored, "a password that was tried")
        for secret in (api_key("admin"), "a password of this test", "a password that was tried"):
            assert SECRETS.find(f"?q={secret}&") == [f"{secret[:6]}…"]
        assert SECRETS.find(stored)

    def test_nothing_else_is(self) -> None:
        assert SECRETS.find("GET /api/books 200") == []

    def test_a_problem_that_tells_one_is_noted(self) -> None:
        InvalidRequest(f"No {new_secret()}.").body(instance="/", request_id="r")
        assert len(SECRETS.told()) == 1
        assert SECRETS.told() == []


class TestReprs:
    @pytest.mark.parametrize("model", MODELS, ids=[model.__name__ for model in MODELS])
    def test_a_row_shows_none_of_its_values(self, model: type[Base]) -> None:
        columns = inspect(model).columns
        values = {column.key: MARK for column in columns if isinstance(column.type, String)}
        row = model(**values)
        assert MARK not in f"{row!r} {row}"

    def test_settings_show_no_secret(self) -> None:
        secrets = [
            name
            for name, field in Settings.model_fields.items()
            if "SecretStr" in str(field.annotation)
        ]
        assert {"secret_key", "encryption_key", "database_url"} <= {*secrets}
        values: dict[str, Any] = dict.fromkeys(secrets, SecretStr(MARK))
        settings = Settings.model_construct(**values)
        assert MARK not in f"{settings!r} {settings}"

    def test_callers_and_visits_hold_no_secret(self) -> None:
        names = {field.name for kind in (Caller, Visit) for field in dataclasses.fields(kind)}
        assert names == {
            *("scopes", "credential", "credential_id", "user_id", "role", "client_id"),
            *("caller", "request_id", "address", "user_agent", "stale_session"),
        }

    def test_requests_and_replies_show_nothing_of_what_they_carry(self) -> None:
        form = FormRequest("POST", MARK, {"cookie": MARK}, MARK.encode())
        reply = Reply(303, {"Location": MARK, "Set-Cookie": MARK}, MARK.encode())
        page = WebPage("page", "POST", "/page", lambda _form: reply)
        call = Call(page, {"body": {"password": MARK}}, Visit(None, "r"))
        assert MARK not in repr([form, reply, call])


class TestLogs:
    def test_the_access_log_has_the_route_and_never_the_path(self, client: httpx.Client) -> None:
        with logs_of_requests() as logs:
            headers = {"Cookie": MARK, "X-API-Key": MARK}
            client.get(f"/api/posts/{MARK}?code={MARK}", headers=headers)
        (line,) = access_lines(logs)
        assert line["route"] == "/api/posts/{post_id}"
        assert MARK not in repr(logs)

    def test_an_error_of_the_database_tells_no_value(
        self, session: Session, engine: Engine
    ) -> None:
        del engine
        with pytest.raises(DBAPIError) as caught:
            session.execute(text("INSERT INTO no_such_table VALUES (:secret)"), {"secret": MARK})
        assert MARK not in str(caught.value)

    def test_a_value_that_is_refused_is_not_told(self, admin: httpx.Client) -> None:
        body: dict[str, Any] = {"title": MARK * 20, MARK[:9]: 1, "author": {"password": MARK}}
        with capture_logs() as logs:
            response = admin.post("/api/posts", json=body)
        assert response.status_code == 400
        assert MARK not in response.text
        assert MARK not in repr(logs)

    def test_ids_are_no_secrets(self) -> None:
        """They stand in logs and in audit entries, where a secret would be looked for."""
        assert SECRETS.find(str(UUID(int=1))) == []
