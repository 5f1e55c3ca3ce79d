"""A process that has loaded the library and its contract once, and forks services from there.

It is told by lines of JSON what to serve, and ends with all that it began when its input does. A
service that is killed is begun again on the same socket, as whatever runs services in earnest does.
"""

import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import uvicorn

from circdesk.app import create_app
from circdesk.contract.application import ContractApp
from circdesk.contract.contract import load_contract
from circdesk.edge.logs import configure_logs
from circdesk.resources import directory
from circdesk.settings import load_settings

# Files of a service: its ports, once it listens; the ids of its processes, and of the one that
# begins them; what all of them log.
PORTS = "ports.json"
PID = "{}.pid"
SUPERVISOR = "supervisor"
LOG = "log"


def main() -> None:
    """Fork a supervisor for each line of the input."""
    contract = load_contract(directory("openapi"))
    gc.freeze()
    # They are not waited for, so that no other process gets the id of one that has ended.
    groups = []
    with patch("circdesk.app.load_contract", lambda _root: contract):
        for line in sys.stdin:
            groups.append(os.fork())
            if groups[-1] == 0:
                _do(_supervise, **json.loads(line))
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _do(deed: Callable[..., None], *arguments: Any, **options: Any) -> NoReturn:
    """Do this and nothing else in a process that was just forked."""
    try:
        deed(*arguments, **options)
    except BaseException:  # noqa: BLE001 - whatever it is, it is told, and the process ends.
        traceback.print_exc()
    finally:
        os._exit(1)


def _supervise(place: str, variables: dict[str, str], processes: int) -> None:
    """Keep so many processes of one service running, until all of them are killed together."""
    # In a group of its own it can be killed with all that it began, whatever it begins just then.
    os.setpgid(0, 0)
    os.environ.update(variables)
    os.chdir(place)
    os.dup2(os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), sys.stderr.fileno())
    _write(PID.format(SUPERVISOR), os.getpid())
    settings = load_settings()
    configure_logs(settings)
    app = create_app(settings)
    # A thread would be there before a fork, and not after it.
    assert threading.active_count() == 1
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=2048) for _ in range(processes)]
    running: dict[int, int] = {}
    for slot, listener in enumerate(listeners):
        running[_begin(app, listener, slot)] = slot
    _write(PORTS, [listener.getsockname()[1] for listener in listeners])
    while True:
        pid, status = os.wait()
        slot = running.pop(pid)
        # One that ends by itself would end again and again.
        assert os.WIFSIGNALED(status), f"a process ended with {status}"
        running[_begin(app, listeners[slot], slot)] = slot


def _begin(app: ContractApp, listener: socket.socket, slot: int) -> int:
    pid = os.fork()
    if pid:
        _write(PID.format(slot), pid)
        return pid
    _do(_serve, app, listener)


def _serve(app: ContractApp, listener: socket.socket) -> None:
    config = uvicorn.Config(app, log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def _write(name: str, content: Any) -> None:
    """Whoever reads the file reads all of it."""
    new = Path(f"{name}.new")
    new.write_text(json.dumps(content))
    new.replace(name)


if __name__ == "__main__":
    main()
