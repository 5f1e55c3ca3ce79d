"""A process that has loaded the contract once, and forks `circdesk serve` and `worker` from there.

It is told by lines of JSON what to run, in which directory, with which variables. What it forks
runs the very commands; only the contract, whose loading takes seconds, is there already. The clock
of a process may be moved while it runs, by writing seconds into the file `clock` of its directory.
"""

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import NoReturn, Self
from unittest.mock import patch

from circdesk import cli, clock
from circdesk.commands import serve
from circdesk.contract.contract import load_contract
from circdesk.resources import directory

# Files of a process: its id, what it logs, and by how many seconds its clock is wrong.
PID = "pid"
LOG = "log"
CLOCK = "clock"


def main() -> None:
    """Fork a process for each line of the input; end with all of them when it ends."""
    contract = load_contract(directory("openapi"))
    gc.freeze()
    # Those that end are forgotten at once; their ids may be used again.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # None may outlive this one, whatever it has begun.
    os.setpgid(0, 0)
    with patch("circdesk.app.load_contract", lambda _root: contract):
        for line in sys.stdin:
            if os.fork() == 0:
                _run(**json.loads(line))
    os.killpg(0, signal.SIGKILL)


def _run(place: str, variables: dict[str, str], port: int | None) -> NoReturn:
    """In the new process: serve at a port of this machine, or work where there is none."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.update(variables)
        os.chdir(place)
        os.dup2(os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), sys.stderr.fileno())
        Path(f"{PID}.new").write_text(str(os.getpid()))
        Path(f"{PID}.new").replace(PID)
        with (
            patch("circdesk.clock.now", _moved(clock.now)),
            patch("jwt.api_jwt.datetime", _MovedDatetime),
        ):
            if port is None:
                cli.worker()
            else:
                serve.serve(demo=False, host="127.0.0.1", port=port)
    except BaseException:  # noqa: BLE001 - whatever it is, it is told, and the process ends.
        traceback.print_exc()
    finally:
        os._exit(0)


def _moved(now: Callable[[], datetime]) -> Callable[[], datetime]:
    """The clock as the file says that it is; read each time, as a machine's clock is."""
    place = Path.cwd() / CLOCK

    def moved() -> datetime:
        wrong = float(place.read_text()) if place.exists() else 0.0
        return now() + timedelta(seconds=wrong)

    return moved


class _MovedDatetime(datetime):
    """What PyJWT asks for the time, which is that of the same machine."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(clock.now().timestamp(), tz)


if __name__ == "__main__":
    main()
