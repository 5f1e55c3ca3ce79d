"""How many requests who may send: the one table, and what a request counts for."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from circdesk.contract.forms import WebPage
from circdesk.contract.operations import Operation
from circdesk.edge.limiting import RateLimitItem, parse
from circdesk.settings import Settings, SettingsError, variable
from circdesk.visits import Caller, Visit, network_of

CountedBy = Literal["user", "api_key", "client", "address"]

_DEFAULTS = {
    "staff": "1800/minute",
    "member": "600/minute",
    "api_key": "1200/minute",
    "client": "1200/minute",
    "anonymous": "300/minute",
    "credentials": "30/minute",
    "tokens": "120/minute",
}
# Where contract tests and demonstrations run on one's own machine.
_AT_HOME = 10

# Operations that have a policy of their own, by address, whoever calls. A password takes
# half a second of a processor to check; which of them fail counts `auth/lockout.py`, for longer.
OWN = {
    "credentials": (
        "change_my_password",
        "create_session",
        "redeem_password_reset",
        "register_user",
        "send_password_reset",
    ),
    # Applications ask for many users from one address, with secrets that nobody guesses.
    "tokens": ("introspect_token", "issue_token", "revoke_token"),
}
_OWN = {name: policy for policy, names in OWN.items() for name in names}
# The page does what the operation does.
_OWN["submit_sign_in"] = _OWN["create_session"]

# Probes come from machines of one's own, and must not fail because of others.
_EXEMPT = frozenset(("get_health", "get_liveness", "get_readiness"))
# It tells the limits, and costs nothing.
FREE = "get_rate_limit"


@dataclass(frozen=True, slots=True)
class Policy:
    """So many requests in so many seconds.

    Attributes:
        seconds: How long a request counts.
    """

    name: str
    item: RateLimitItem
    limit: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """Whose requests count together.

    Attributes:
        subject: Whose they are; it tells nobody which account or address that is.
        key: Its name in the storage.
    """

    policy: Policy
    counted_by: CountedBy
    subject: str
    key: str


def read_policies(settings: Settings) -> dict[str, Policy]:
    """The table, with what the settings say.

    Raises:
        SettingsError: They name a policy that there is not.
    """
    factor = _AT_HOME if settings.env in ("development", "sandbox") else 1
    policies = {name: _policy(name, text, factor) for name, text in _DEFAULTS.items()}
    for entry in filter(None, settings.rate_limits.split(",")):
        name, _, text = entry.strip().rpartition("=")
        if name and name not in policies:
            known = ", ".join(policies)
            raise SettingsError(f"{variable('rate_limits')}: {name} is none of {known}")
        policies |= {each: _policy(each, text) for each in ([name] if name else policies)}
    return policies


def _policy(name: str, text: str, factor: int = 1) -> Policy:
    item = parse(text)
    item = type(item)(item.amount * factor, item.multiples)
    return Policy(name, item, item.amount, item.get_expiry())


class Buckets:
    """Finds the bucket of a request.

    Args:
        policies: The table.
        secret: What subjects are hidden with; the same in all processes.
    """

    def __init__(self, policies: Mapping[str, Policy], secret: str) -> None:
        self._policies = policies
        self._secret = hashlib.sha256(secret.encode()).digest()
        self._bucket = lru_cache(maxsize=10_000)(self._make_bucket)

    def find(self, target: Operation | WebPage | None, visit: Visit) -> Bucket | None:
        """The bucket of a request to the target; None where nothing is counted."""
        if target is None:
            return self.of_caller(visit)
        name = target.operation_id if isinstance(target, Operation) else target.name
        if name in _EXEMPT:
            return None
        if name in _OWN:
            return self.of_address(visit.address, _OWN[name])
        return self.of_caller(visit)

    def of_caller(self, visit: Visit) -> Bucket:
        """The bucket of a caller's requests to all that has no policy of its own."""
        caller = visit.caller
        if caller is None:
            return self._bucket("anonymous", "address", network_of(visit.address))
        counted_by, subject = _identity(caller)
        is_user = counted_by == "user"
        policy = ("member" if caller.role == "member" else "staff") if is_user else counted_by
        return self._bucket(policy, counted_by, subject)

    def of_address(self, address: str | None, policy: str) -> Bucket:
        """The bucket of what counts by address."""
        return self._bucket(policy, "address", network_of(address))

    def _make_bucket(self, name: str, counted_by: CountedBy, whose: str) -> Bucket:
        policy, text = self._policies[name], f"{name}\0{whose}".encode()
        subject = hashlib.blake2b(text, key=self._secret, digest_size=16).hexdigest()
        return Bucket(policy, counted_by, subject, policy.item.key_for(subject))


def _identity(caller: Caller) -> tuple[CountedBy, str]:
    if caller.credential == "api_key":
        return "api_key", str(caller.credential_id)
    if caller.user_id is not None:
        return "user", str(caller.user_id)
    return "client", str(caller.client_id)
