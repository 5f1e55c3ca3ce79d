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

from circdesk.catalog.demo.seeding import seed_demo
from circdesk.db.unit_of_work import make_sessions
from tests.people import ADMIN_ID, api_key, api_key_id

ROOT = Path(__file__).parents[2]
LONG = bool(os.environ.get("TEST_LONG"))
# At least 200 examples of each operation, and 2,000 runs from one to the next.
LONGER = 34


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration; with `TEST_LONG` it asks for many times the examples."""
    text = (ROOT / "schemathesis.toml").read_text()
    if LONG:
        text = re.sub(r"(?<=max-examples = )\d+", lambda match: str(int(match[0]) * LONGER), text)
    path = tmp_path / "schemathesis.toml"
    path.write_text(text)
    return path


def test_the_service_keeps_to_its_contract(base_url: str, engine: Engine, config: Path) -> None:
    # Keys that are found make most of what there is to test.
    seed_demo(make_sessions(engine))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    seed = ["--seed", os.environ["TEST_SEED"]] if "TEST_SEED" in os.environ else []
    own = (ADMIN_ID, api_key_id("admin"), "card:20003")
    environment = os.environ | {
        "API_KEY": api_key("admin"),
        "OWN_KEYS": " ".join(map(str, own)),
    }
    # The service is what is measured, and it runs in this process.
    environment.pop("COVERAGE_PROCESS_START", None)

    result = subprocess.run(
        [*command, f"{base_url}/openapi.json", *seed],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=6000 if LONG else 900,
        check=False,
    )

    print(result.stdout)  # noqa: T201  Among other things the seed.
    assert result.returncode == 0, result.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in result.stdout, result.stdout
    assert re.search(r"Seed: \d+", result.stdout)
