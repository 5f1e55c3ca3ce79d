"""Which lines and branches of the service the tests run: a plugin of pytest, for `make test`.

Python 3.11 can tell only by tracing each line, by which a run takes half as long again. SlipCover
puts probes into the code when it is imported, for which this must be loaded before `conftest.py`:
`PYTEST_PLUGINS=tests.covering`. Each worker of pytest-xdist writes what it has found, and
`slipcover --merge` puts that together.
"""

import json
import os
import sys
from pathlib import Path

import pytest
from slipcover import FileMatcher, ImportManager, Slipcover
from slipcover.config import read_config

PLACE = Path("build/coverage")
WORKER = os.environ.get("PYTEST_XDIST_WORKER")


def _put_probes() -> Slipcover:
    """Put probes into all of the service that is imported from now on."""
    config = read_config()
    probes = Slipcover(
        branch=config["branch"],
        source=config["source"],
        exclude_also=config["exclude-also"],
        # To leave a probe in costs less than to take it out while other threads run the code.
        d_miss_threshold=sys.maxsize,
    )
    ImportManager(probes, FileMatcher(sources=config["source"])).__enter__()
    return probes


# The process that starts the workers runs no test.
_PROBES = _put_probes() if WORKER else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what this worker has run; a worker that has said that it is done may be ended."""
    if _PROBES:
        place = session.config.rootpath / PLACE
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{WORKER}.json").write_text(json.dumps(_PROBES.get_coverage()))
