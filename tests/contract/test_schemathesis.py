"""Schemathesis against the running service: every check, all phases, on each database.

Its own command runs the phases best: what one answers feeds the next. `schemathesis.toml` says
how. The caller has a key; that it is needed where it is required, Schemathesis tries by itself.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from circdesk.catalog.demo.identities import Kind, demo_id
from circdesk.catalog.demo.seeding import seed_demo
from circdesk.catalog.models import Copy
from circdesk.circulation.models import Hold, Loan
from circdesk.db.unit_of_work import make_sessions, unit_of_work
from tests.contract.documented_desk import documented_hold, documented_loan, store_documented_desk
from tests.people import ADMIN_ID, LIBRARIAN_ID, api_key, api_key_id

ROOT = Path(__file__).parents[2]
LONG = bool(os.environ.get("TEST_LONG"))
# At least 200 examples of each operation, and 2,000 runs from one to the next.
LONGER = 68
# The other database has its valid cases, and with both everything would be covered twice.
FAULTS_ONLY = """
[phases.coverage.generation]
mode = "negative"
"""


@pytest.fixture
def config(tmp_path: Path, engine: Engine) -> Path:
    """The configuration; with `TEST_LONG` it asks for all, and for many times the examples."""
    text = (ROOT / "schemathesis.toml").read_text()
    if LONG:
        text = re.sub(r"(?<=max-examples = )\d+", lambda match: str(int(match[0]) * LONGER), text)
    elif engine.dialect.name == "sqlite":
        text += FAULTS_ONLY
    path = tmp_path / "schemathesis.toml"
    path.write_text(text)
    return path


def loan_to_renew(session: Session) -> Loan:
    """An overdue loan of the copy that is the last to be lent by what is made up."""
    copy = session.get_one(Copy, demo_id(Kind.COPY, 400))
    copy.status = "on_loan"
    loan = documented_loan(ADMIN_ID, number=2)
    loan.copy_id, loan.book_id = copy.id, copy.book_id
    return loan


def hold_to_change(session: Session) -> Hold:
    """A hold on a copy that does not come back."""
    copy = session.get_one(Copy, demo_id(Kind.COPY, 399))
    copy.status = "in_repair"
    hold = documented_hold(LIBRARIAN_ID, number=2)
    hold.book_id, hold.copy_id, hold.trapped_copy_id = copy.book_id, copy.id, None
    hold.status = "waiting"
    return hold


def test_the_service_keeps_to_its_contract(base_url: str, engine: Engine, config: Path) -> None:
    # Keys that are found make most of what there is to test.
    sessions = make_sessions(engine)
    seed_demo(sessions)
    with unit_of_work(sessions, writing=True) as session:
        # What belongs to the caller can be changed by every operation that there is.
        store_documented_desk(session, member=ADMIN_ID, librarian=LIBRARIAN_ID)
        session.get_one(Copy, demo_id(Kind.COPY, 1)).status = "on_loan"
        session.get_one(Copy, demo_id(Kind.COPY, 2)).status = "in_transit"
        session.add_all((loan_to_renew(session), hold_to_change(session)))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    # What breaks the contract is refused before any database is asked, so that once is enough.
    whole = LONG or engine.dialect.name == "sqlite"
    mode = ["--mode", "all" if whole else "positive"]
    seed = ["--seed", os.environ["TEST_SEED"]] if "TEST_SEED" in os.environ else []
    own = (ADMIN_ID, api_key_id("admin"), "card:20003", demo_id(Kind.LOAN_POLICY, 1))
    environment = os.environ | {
        "API_KEY": api_key("admin"),
        "OWN_KEYS": " ".join(map(str, own)),
    }

    result = subprocess.run(
        [*command, f"{base_url}/openapi.json", *mode, *seed],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=12_000 if LONG else 1800,
        check=False,
    )

    print(result.stdout)  # noqa: T201  Among other things the seed.
    assert result.returncode == 0, result.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in result.stdout, result.stdout
    assert re.search(r"Seed: \d+", result.stdout)
