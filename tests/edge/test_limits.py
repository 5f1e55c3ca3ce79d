"""Rate limits over HTTP: who counts for what, what is told of it, and what is refused."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from circdesk.auth.models import ApiKey
from circdesk.auth.secrets import hash_secret
from circdesk.contract.forms import Reply, WebPage
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.edge.policies import Buckets, read_policies
from circdesk.edge.windows import FREE
from circdesk.settings import Settings, SettingsError
from circdesk.visits import Caller as Known
from circdesk.visits import Visit
from tests.conftest import CountQueries
from tests.contracts import contract
from tests.edge.conftest import Caller
from tests.people import PEOPLE
from tests.redis_server import RedisServer

Expected = Callable[..., dict[str, Any]]

OPERATIONS = contract().operations
SOMEBODY, SOMETHING = UUID(int=1), UUID(int=2)

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def statuses(client: httpx.Client, number: int, path: str = "/api/posts") -> list[int]:
    return [client.get(path).status_code for _ in range(number)]


@pytest.fixture
def key(sessions: Sessions) -> str:
    """The API key of a member, which nobody else uses."""
    secret = f"cdk_{uuid4().hex}"
    with unit_of_work(sessions, writing=True) as session:
        session.add(
            ApiKey(
                user_id=PEOPLE["member"],
                name="For limits",
                prefix=secret[:12],
                secret_hash=hash_secret(secret),
                scopes=["borrowing:read"],
            )
        )
    return secret


class TestBuckets:
    @pytest.fixture
    def buckets(self, settings: Settings) -> Buckets:
        return Buckets(read_policies(settings), "a secret")

    def visit(self, address: str = "192.0.2.1", **caller: Any) -> Visit:
        known = {"scopes": frozenset[str](), "credential_id": SOMETHING, **caller}
        return Visit(Known(**known) if caller else None, "r", address)

    @pytest.mark.parametrize(
        ("caller", "policy", "counted_by"),
        [
            ({"credential": "session", "user_id": SOMEBODY, "role": "admin"}, "staff", "user"),
            ({"credential": "bearer", "user_id": SOMEBODY, "role": "librarian"}, "staff", "user"),
            ({"credential": "session", "user_id": SOMEBODY, "role": "member"}, "member", "user"),
            (
                {"credential": "api_key", "user_id": SOMEBODY, "role": "admin"},
                "api_key",
                "api_key",
            ),
            ({"credential": "bearer", "client_id": SOMETHING}, "client", "client"),
            ({}, "anonymous", "address"),
        ],
    )
    def test_each_kind_of_caller_has_a_policy_of_its_own(
        self, buckets: Buckets, caller: dict[str, Any], policy: str, counted_by: str
    ) -> None:
        bucket = buckets.find(OPERATIONS["list_posts"], self.visit(**caller))

        assert bucket is not None
        assert (bucket.policy.name, bucket.counted_by) == (policy, counted_by)

    def test_a_user_has_one_bucket_wherever_and_however(self, buckets: Buckets) -> None:
        user = {"user_id": SOMEBODY, "role": "member"}
        here = self.visit("192.0.2.1", credential="session", **user)
        there = self.visit("192.0.2.2", credential="bearer", client_id=SOMETHING, **user)

        assert buckets.of_caller(here) == buckets.of_caller(there)

    def test_neighbours_of_one_ipv6_network_count_together(self, buckets: Buckets) -> None:
        one, other, elsewhere = (
            buckets.of_caller(self.visit(address))
            for address in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1")
        )

        assert one == other
        assert one != elsewhere

    @pytest.mark.parametrize(
        ("operation", "policy"), [("create_session", "credentials"), ("issue_token", "tokens")]
    )
    def test_credentials_count_by_address_whoever_calls(
        self, buckets: Buckets, operation: str, policy: str
    ) -> None:
        known = self.visit(credential="session", user_id=SOMEBODY, role="admin")
        bucket = buckets.find(OPERATIONS[operation], known)

        assert bucket is not None
        assert (bucket.policy.name, bucket.counted_by) == (policy, "address")
        assert bucket == buckets.find(OPERATIONS[operation], self.visit())

    def test_the_page_counts_with_the_operation(self, buckets: Buckets) -> None:
        page = WebPage("submit_sign_in", "POST", "/oauth/sign-in", lambda _form: Reply(200, {}))
        operation = OPERATIONS["create_session"]

        assert buckets.find(page, self.visit()) == buckets.find(operation, self.visit())

    def test_probes_have_none(self, buckets: Buckets) -> None:
        for name in ("get_health", "get_liveness", "get_readiness"):
            assert buckets.find(OPERATIONS[name], self.visit()) is None

    def test_a_subject_tells_nobody_whose_it_is(self, buckets: Buckets) -> None:
        bucket = buckets.of_caller(self.visit("192.0.2.1"))

        assert "192.0.2.1" not in bucket.key
        assert bucket != Buckets({"anonymous": bucket.policy}, "another").of_caller(self.visit())


class TestPolicies:
    @pytest.mark.parametrize(("env", "limit"), [("production", 300), ("sandbox", 3000)])
    def test_the_table_holds_and_at_home_ten_times_of_it(
        self, settings: Settings, env: str, limit: int
    ) -> None:
        changes = {"env": env, "rate_limits": ""}
        policies = read_policies(settings.model_copy(update=changes))

        assert (policies["anonymous"].limit, policies["anonymous"].seconds) == (limit, 60)

    def test_settings_change_one_or_all(self, settings: Settings) -> None:
        changes = {"rate_limits": "9/second, staff=100/hour"}
        policies = read_policies(settings.model_copy(update=changes))

        assert (policies["staff"].limit, policies["staff"].seconds) == (100, 3600)
        assert (policies["tokens"].limit, policies["tokens"].seconds) == (9, 1)

    def test_an_unknown_policy_stops_the_start(self, settings: Settings) -> None:
        changes = {"rate_limits": "robots=1/minute"}
        with pytest.raises(SettingsError, match=r"^CIRCDESK_RATE_LIMITS: robots is none of staff,"):
            read_policies(settings.model_copy(update=changes))


class TestHeaders:
    def test_what_is_left_counts_down(self, caller: Caller) -> None:
        anonymous = caller()
        told = [anonymous.get("/api/posts").headers for _ in range(5)]

        assert {headers["RateLimit-Policy"] for headers in told} == {'"anonymous";q=5;w=3600'}
        left = [headers["RateLimit"].rpartition(";t=") for headers in told]
        assert [part for part, _, _ in left] == [f'"anonymous";r={n}' for n in (4, 3, 2, 1, 0)]
        assert all(3500 < int(seconds) <= 3600 for _, _, seconds in left)

    def test_the_credential_decides_whose_they_are(self, caller: Caller, key: str) -> None:
        response = caller(X_API_Key=key).get("/api/me/loans")

        assert response.headers["RateLimit-Policy"] == '"api_key";q=5;w=3600'
        assert response.headers["RateLimit"].startswith('"api_key";r=4;t=')

    def test_refusals_have_them_too(self, caller: Caller) -> None:
        anonymous = caller()
        for left, path in ((4, "/api/nowhere"), (3, "/api/posts?colour=red"), (2, "/api/me")):
            told = anonymous.get(path).headers["RateLimit"]
            assert told.startswith(f'"anonymous";r={left};t='), path


class TestRefusal:
    def test_beyond_the_limit_the_answer_says_how_long_to_wait(
        self, caller: Caller, problem: Expected
    ) -> None:
        anonymous = caller()
        statuses(anonymous, 5)
        response = anonymous.get("/api/posts")

        assert response.status_code == 429
        seconds = int(response.headers["Retry-After"])
        assert 3500 < seconds <= 3600
        assert response.headers["RateLimit"] == f'"anonymous";r=0;t={seconds}'
        message = f"The policy anonymous allows 5 requests in 3600 s; wait {seconds} s."
        detail = {
            "in": "header",
            "pointer": "/RateLimit-Policy",
            "rule": "anonymous",
            "message": message,
            "allowed": 5,
        }
        assert response.json() == problem(
            response, "rate_limit_exceeded", message, details=[detail]
        )

    def test_it_costs_the_database_nothing(
        self, caller: Caller, count_queries: CountQueries
    ) -> None:
        anonymous = caller()
        statuses(anonymous, 5)
        with count_queries() as statements:
            assert statuses(anonymous, 3) == [429] * 3

        assert statements == []

    def test_others_are_not_refused(self, caller: Caller, key: str) -> None:
        assert statuses(caller(), 6) == [200] * 5 + [429]

        assert statuses(caller(address="198.51.100.1"), 1) == [200]
        assert statuses(caller(X_API_Key=key), 1, "/api/me/loans") == [200]

    @pytest.mark.parametrize(
        ("method", "path", "headers", "status"),
        [
            ("GET", "/api/posts", {"Authorization": "Bearer nonsense"}, 401),
            ("GET", "/api/posts", {"X-API-Key": "cdk_nonsense"}, 401),
            ("GET", "/api/me", {}, 401),
            ("GET", "/api/nowhere", {}, 404),
            ("PUT", "/api/posts", {}, 405),
            ("GET", "/api/posts", {"Accept": "text/html"}, 406),
            ("GET", "/api/posts?colour=red", {}, 400),
        ],
    )
    def test_a_flood_of_what_the_door_refuses_ends(
        self, caller: Caller, method: str, path: str, headers: dict[str, str], status: int
    ) -> None:
        anonymous = caller()
        found = [anonymous.request(method, path, headers=headers) for _ in range(8)]

        assert [response.status_code for response in found] == [status] * 5 + [429] * 3
        assert found[-1].json()["code"] == "rate_limit_exceeded"
        assert int(found[-1].headers["Retry-After"]) > 3500

    def test_who_is_known_counts_for_oneself_also_when_refused(
        self, caller: Caller, key: str
    ) -> None:
        known = caller(X_API_Key=key)

        assert statuses(known, 6, "/api/me/loans?colour=red") == [400] * 5 + [429]
        assert statuses(caller(), 1) == [200]

    def test_a_good_credential_is_good_while_its_address_is_flooded(
        self, caller: Caller, key: str
    ) -> None:
        statuses(caller(X_API_Key="cdk_nonsense"), 20)

        assert statuses(caller(X_API_Key=key), 1, "/api/me/loans") == [200]

    def test_credentials_have_fewer_places(self, caller: Caller) -> None:
        guess = {"email": "nobody@example.org", "password": "a guess"}
        found = [caller().post("/api/session", json=guess) for _ in range(4)]

        assert [response.status_code for response in found] == [401, 401, 401, 429]
        assert found[-1].json()["code"] == "rate_limit_exceeded"
        assert found[-1].headers["RateLimit-Policy"] == '"credentials";q=3;w=3600'
        # The page is no way round.
        page = caller().post("/oauth/sign-in", data=guess)
        assert page.status_code == 429
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "Retry-After" in page.headers

    def test_tokens_are_not_asked_for_without_end(self, caller: Caller) -> None:
        found = [caller().post("/oauth/token", data={"client_id": "x"}) for _ in range(5)]

        assert [response.status_code for response in found] == [400] * 4 + [429]


class TestProbes:
    def test_they_are_never_refused(self, caller: Caller) -> None:
        anonymous = caller()
        statuses(anonymous, 6)
        for path in ("/healthz", "/readiness", "/api/health"):
            assert statuses(anonymous, 10, path) == [200] * 10
            assert "RateLimit" not in anonymous.get(path).headers


class TestNotModified:
    def test_what_has_not_changed_is_free_for_long(self, caller: Caller) -> None:
        reader = caller()
        tag = {"If-None-Match": reader.get("/openapi.json").headers["ETag"]}
        found = [reader.get("/openapi.json", headers=tag) for _ in range(5 * FREE + 6)]

        assert [each.status_code for each in found] == [304] * (5 * FREE + 4) + [429] * 2
        left = [each.headers["RateLimit"].partition(";t=")[0] for each in found]
        assert left[: 5 * FREE] == ['"anonymous";r=4'] * 5 * FREE
        assert left[5 * FREE :][:4] == [f'"anonymous";r={n}' for n in (3, 2, 1, 0)]


class TestProcesses:
    def test_two_that_share_a_redis_have_the_limits_of_one(self, caller: Caller) -> None:
        clients = [caller(service) for service in (0, 1)]
        found = [clients[number % 2].get("/api/posts").status_code for number in range(8)]

        assert found == [200] * 5 + [429] * 3

    def test_refusals_at_the_door_are_shared_as_well(self, caller: Caller) -> None:
        clients = [caller(service, X_API_Key="cdk_nonsense") for service in (0, 1)]
        found = [clients[number % 2].get("/api/posts").status_code for number in range(8)]

        assert found == [401] * 5 + [429] * 3
        assert statuses(caller(1), 1) == [429]

    def test_without_redis_they_go_on_each_for_itself(
        self, caller: Caller, redis: RedisServer
    ) -> None:
        with redis.away():
            assert statuses(caller(0), 6) == [200] * 5 + [429]
            assert statuses(caller(1), 6, "/api/nowhere") == [404] * 5 + [429]


class TestGetRateLimit:
    def test_it_tells_what_is_left_and_costs_nothing(self, caller: Caller, key: str) -> None:
        known = caller(X_API_Key=key)
        known.get("/api/me/loans")
        responses = [known.get("/api/rate-limit") for _ in range(10)]
        response = responses[-1]

        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["RateLimit"].startswith('"api_key";r=4;t=')
        body = response.json()
        assert 3500 < body["items"][0].pop("reset_seconds") <= 3600
        assert body == {
            "items": [
                {
                    "policy": "api_key",
                    "counted_by": "api_key",
                    "limit": 5,
                    "window_seconds": 3600,
                    "remaining": 4,
                    "operations": [],
                },
                {
                    "policy": "credentials",
                    "counted_by": "address",
                    "limit": 3,
                    "window_seconds": 3600,
                    "remaining": 3,
                    "reset_seconds": 0,
                    "operations": [
                        "change_my_password",
                        "create_session",
                        "redeem_password_reset",
                        "register_user",
                        "send_password_reset",
                    ],
                },
                {
                    "policy": "tokens",
                    "counted_by": "address",
                    "limit": 4,
                    "window_seconds": 3600,
                    "remaining": 4,
                    "reset_seconds": 0,
                    "operations": ["introspect_token", "issue_token", "revoke_token"],
                },
            ]
        }

    def test_who_has_no_place_left_can_still_ask(self, caller: Caller) -> None:
        anonymous = caller()
        statuses(anonymous, 6)
        items = anonymous.get("/api/rate-limit").json()["items"]

        assert [(item["policy"], item["remaining"]) for item in items] == [
            ("anonymous", 0),
            ("credentials", 3),
            ("tokens", 4),
        ]

    def test_operations_that_it_names_are_those_of_the_contract(self, caller: Caller) -> None:
        items = caller().get("/api/rate-limit").json()["items"]

        assert {name for item in items for name in item["operations"]} <= OPERATIONS.keys()

    def test_bad_credentials_are_refused_and_count(self, caller: Caller) -> None:
        bad = caller(X_API_Key="cdk_nonsense")

        assert statuses(bad, 6, "/api/rate-limit") == [401] * 5 + [429]
