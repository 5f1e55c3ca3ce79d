"""What Schemathesis must know beyond the contract; `schemathesis.toml` loads it.

A format of ours says more than a pattern can; the strategies make values of each. Coverage of a
pattern's lengths passes them by, and rules between parameters stand in descriptions only:
`map_case` brings valid cases back to both. Invalid cases are let be.
"""

import os
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4
from zoneinfo import available_timezones

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext, SerializationContext
from schemathesis.transport.serialization import serialize_binary

REACH = 10_000
# A rule for all the changes that are made to rules.
OTHER_RULE = "019b8d2b-8c00-7010-8000-000000000002"
# The ids and natural keys of the caller and of its credential, without which the run would end,
# and of the rule without which nobody would be lent anything.
OWN = frozenset(os.environ.get("OWN_KEYS", "").split()) | {OTHER_RULE}
ITEM_MAPPINGS = ["952:branch=b,barcode=p", "852:branch=b;952:branch=b,barcode=p,shelf_mark=o"]
# What the demo has; of borrowers, those who are not the run itself.
BORROWERS = ["card:20001", "card:20002"]
KNOWN = {"book": "isbn:9780441478125", "branch": "code:central", "pickup_branch": "code:central"}
# Little enough for something to be outstanding after it.
AMOUNT = "0.10"
FIRST_BARCODE, COPIES = 30_001, 400
CENTRAL = "019b8d2b-8c00-7002-8000-000000000001"
EVENT = "019b8d2b-8c00-7011-8000-000000000001"
# A loan and a hold that are there until the end, where others have ended by then, or were lent too
# short a time ago.
LASTING = {
    ("POST", "/api/loans/{loan_id}/renewals"): {"loan_id": "019b8d2b-8c00-7012-8000-000000000002"},
    ("PATCH", "/api/holds/{hold_id}"): {"hold_id": "019b8d2b-8c00-7013-8000-000000000002"},
    # It has copies; those that have none are gone soon.
    ("DELETE", "/api/branches/{branch_id}"): {"branch_id": CENTRAL},
}
TIME_ZONES = sorted(available_timezones())
fresh = count(1)
# Every other request of an operation that changes something is about what is there. Who counted
# them all together would leave it to chance which operations that falls on.
turns = count()
turns_of: "defaultdict[tuple[str, str], count[int]]" = defaultdict(count)


def isbn_13(body: int) -> str:
    """The ISBN-13 with these nine digits after its prefix."""
    digits = f"978{body:09}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


def isbn_10(body: int) -> str:
    """The ISBN-10 with these nine digits."""
    digits = f"{body:09}"
    total = sum(int(digit) * (10 - place) for place, digit in enumerate(digits))
    return digits + "0123456789X"[-total % 11]


ids = st.uuids().map(str)
known_isbns = st.sampled_from(["9780441478125", "978-0-441-47812-5", "0-441-47812-3"])
isbns = known_isbns | st.integers(0, 10**9 - 1).flatmap(
    lambda body: st.sampled_from([isbn_13(body), isbn_10(body)])
)
codes = st.sampled_from(["central", "harbour"]) | st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True)
barcodes = st.integers(FIRST_BARCODE, FIRST_BARCODE + COPIES - 1).map(str) | st.from_regex(
    r"[A-Za-z0-9._-]{1,64}", fullmatch=True
)

FORMATS: dict[str, st.SearchStrategy[str]] = {
    "isbn": isbns,
    # Any other cursor is good for one list with one sort and the same filters only.
    "cursor": st.just("start"),
    "language": st.sampled_from(["eng", "EN", "ger", "deu", "de", "jpn", "zxx"]),
    "time-zone": st.sampled_from(TIME_ZONES),
    "book-key": ids | isbns.map("isbn:{}".format),
    "branch-key": ids | codes.map("code:{}".format),
    "copy-key": ids | barcodes.map("barcode:{}".format),
    "item-mapping": st.sampled_from(ITEM_MAPPINGS),
    "idempotency-key": ids | ids.map('"{}"'.format),
}
for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)


# Of the forms that can be imported, the one that has no example in the contract.
schemathesis.openapi.media_type(
    "application/marc",
    st.just(b"00061nam a2200037 a 4500245001300000\x1e00\x1faMiddlemarch\x1e\x1d"),
)


@schemathesis.serializer("text/csv", "text/tab-separated-values")
def send_file(context: SerializationContext, value: Any) -> bytes:
    """Send a file as it is; Schemathesis sends nothing where text is made of bytes."""
    del context
    return serialize_binary(value)


@schemathesis.hook
def map_case(context: HookContext, case: Case[Any]) -> Case[Any]:
    """Bring a valid case back to what descriptions and formats say beyond its schema."""
    del context
    if case.meta is None or case.meta.generation.mode.is_negative:
        return case
    query = case.query
    if "cursor" in query:
        # A cursor knows no pages, and relevance, the order of `q`, has nothing else.
        query["cursor"] = "start"
        for other in ("page", "sort", "q"):
            query.pop(other, None)
    if "after" in query:
        query["after"] = EVENT
    if int(query.get("page", 1)) * int(query.get("per_page", 20)) > REACH:
        del query["page"]
    if query.get("items") not in ITEM_MAPPINGS:
        query.pop("items", None)
    if isinstance(case.body, dict):
        mend(case.body)
    return case


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Lead elsewhere what would change or delete what the run itself relies on.

    What the examples of properties make passes `map_case` by, so that the desk is led to here.
    """
    del context, kwargs
    for name, value in case.path_parameters.items():
        if value in {None, "None"}:
            # A link found null where an id may stand.
            case.path_parameters[name] = str(uuid4())
    if case.method.upper() in {"GET", "HEAD", "OPTIONS"}:
        return
    operation = (case.method.upper(), case.operation.path)
    number, guessed = next(turns) // 2, next(turns_of[operation]) % 2
    if not guessed:
        case.path_parameters.update(LASTING.get(operation, {}))
    is_valid = case.meta is None or not case.meta.generation.mode.is_negative
    if is_valid:
        mend_for_the_edge(case)
    if is_valid and isinstance(case.body, dict):
        # Nobody guesses what a decision is signed with.
        case.body.pop("plan_token", None)
        if not guessed:
            bring_to_the_desk(case.body, number)
    for name, value in case.path_parameters.items():
        if str(value).lower() in OWN:
            changes_rule = name == "policy_id" and case.method.upper() != "DELETE"
            case.path_parameters[name] = OTHER_RULE if changes_rule else str(uuid4())


def mend_for_the_edge(case: Case[Any]) -> None:
    """Let a request have one key of its own, and a condition that is met.

    The key of another request would only be refused, and nobody guesses a version.
    """
    if case.method.upper() in {"PUT", "PATCH", "DELETE"}:
        case.headers["If-Match"] = "*"
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f'"key-{next(fresh)}"'
        case.query.pop("idempotency_key", None)
    elif "idempotency_key" in case.query:
        case.query["idempotency_key"] = f"key-{next(fresh)}"


def mend(body: dict[str, Any]) -> None:
    """Mend what a body has that exists once only, and what depends on other things in it."""
    if body.get("time_zone", "UTC") not in TIME_ZONES:
        body["time_zone"] = "Europe/Lisbon"
    for day, spans in (body.get("opening_hours") or {}).items():
        body["opening_hours"][day] = spans and in_order(spans)
    mend_period(body)
    if body.get("due_at"):
        body["due_at"] = (datetime.now(UTC) + timedelta(days=28)).isoformat(timespec="seconds")
    if body.get("branch_id"):
        body["branch_id"] = CENTRAL
    if "code" in body:
        body["code"] = f"{body['code'][:50]}-{next(fresh)}"
    if body.get("barcode"):
        body["barcode"] = f"{body['barcode'][:50]}-{next(fresh)}"
    if body.keys() == {"name"}:
        body["name"] = f"{body['name'][:80]} {next(fresh)}"
    if body.get("scopes"):
        # Most texts of their form are the names of none.
        body["scopes"] = ["profile:read"]
    if body.get("isbns"):
        body["isbns"] = [isbn_13(500_000_000 + next(fresh)) for _ in body["isbns"]]


def mend_period(body: dict[str, Any]) -> None:
    """Give the period of a rule what its unit needs, and nothing else."""
    if "period_unit" in body:
        is_date = body["period_unit"] == "fixed_date"
        body["period_length"] = None if is_date else body.get("period_length") or 28
        body["period_date"] = (body.get("period_date") or "2027-03-31") if is_date else None
    else:
        body.pop("period_length", None)
        body.pop("period_date", None)


def bring_to_the_desk(body: dict[str, Any], number: int) -> None:
    """Let a body name things that are there, so that it gets as far as the desk."""
    known = {
        "user": BORROWERS[number % len(BORROWERS)],
        "copy": f"barcode:{FIRST_BARCODE + number % COPIES}",
        "amount": AMOUNT,
        **KNOWN,
    }
    body.update({name: value for name, value in known.items() if body.get(name)})
    if body.keys() >= {"user", "pickup_branch"}:
        body["confirm"] = ["copy_available"]


def in_order(spans: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same times as spans that end after they begin, one after the other."""
    times = sorted({time for span in spans for time in span.values()})
    return [
        {"opens": opens, "closes": closes}
        for opens, closes in zip(times[::2], times[1::2], strict=False)
    ]
