"""Whose request it is: the last entries of X-Forwarded-For, as many as there are proxies."""

import asyncio
from typing import Any, ClassVar

import httpx
import pytest

from circdesk.edge.proxies import BelievedProxies
from circdesk.visits import network_of
from tests.access_lines import access_lines, logs_of_requests
from tests.edge.conftest import Caller

PROXY = "10.0.0.1"


def client_of(hops: int, *headers: str) -> str:
    """The address of the client for what is within."""
    found: list[str] = []

    async def within(scope: Any, _receive: Any, _send: Any) -> None:
        found.append(scope["client"][0])

    raw = [(b"x-forwarded-for", value.encode("latin-1")) for value in headers]
    scope = {"type": "http", "client": (PROXY, 4711), "headers": [(b"host", b"x"), *raw]}
    asyncio.run(BelievedProxies(within, hops=hops)(scope, None, None))  # type: ignore[arg-type]
    return found[0]


class TestBelievedProxies:
    @pytest.mark.parametrize(
        ("hops", "headers", "client"),
        [
            (1, ["192.0.2.7"], "192.0.2.7"),
            # Whatever was sent to the proxy stands before what it adds.
            (1, ["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
            (1, ["6.6.6.6", "192.0.2.7"], "192.0.2.7"),
            (2, ["6.6.6.6, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            (2, ["6.6.6.6", "192.0.2.7,10.0.0.2"], "192.0.2.7"),
            # A request that came past the outermost proxy.
            (2, ["192.0.2.7"], "192.0.2.7"),
            (1, ["2001:DB8::0:1"], "2001:db8::1"),
            (1, ["fe80::1%eth0"], "fe80::1"),
            # What is not believed may be anything.
            (1, ["<script>, 192.0.2.7"], "192.0.2.7"),
        ],
    )
    def test_the_farthest_entry_that_is_believed_is_the_client(
        self, hops: int, headers: list[str], client: str
    ) -> None:
        assert client_of(hops, *headers) == client

    @pytest.mark.parametrize(
        "header",
        ["", "unknown", "192.0.2", "192.0.2.7:80", "192.0.2.7,", "\xfc", "6.6.6.6, 1.2.3.4 5"],
    )
    def test_what_cannot_be_read_leaves_the_address_of_the_socket(self, header: str) -> None:
        assert client_of(1, header) == PROXY
        assert client_of(2, f"192.0.2.7, {header}") == PROXY

    def test_without_the_header_it_stays(self) -> None:
        assert client_of(1) == PROXY


class TestService:
    FORWARDED: ClassVar = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7"}

    def test_without_proxies_the_header_says_nothing(self, client: httpx.Client) -> None:
        with logs_of_requests() as logs:
            client.get("/api/nowhere", headers=self.FORWARDED)

        assert [line["client"] for line in access_lines(logs)] == ["127.0.0.1"]

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_the_believed_address_is_the_one_of_the_logs(
        self, caller: Caller, own_address: str, admin_headers: dict[str, str]
    ) -> None:
        guess = {"email": "nobody@example.org", "password": "a guess"}
        with logs_of_requests() as logs:
            caller(address=f"6.6.6.6, {own_address}").post("/api/session", json=guess)
        assert [line["client"] for line in access_lines(logs)] == [own_address]

        log = caller().get("/api/admin/audit-log", headers=admin_headers).json()
        assert [entry["address"] for entry in log["items"]] == [own_address]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("a socket", ""),
    ],
)
def test_an_ipv6_address_counts_as_its_network(address: str | None, network: str) -> None:
    assert network_of(address) == network
