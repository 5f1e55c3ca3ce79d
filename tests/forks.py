"""Commands as processes of their own, without the seconds that each of them needs to load.

They are forked from one process that has loaded the library, and has done nothing else. That a
command also starts from nothing is proven by the tests that start the service and the worker.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from circdesk.cli import main

# A slow machine under load ends a command in some seconds; one that hangs must fail.
PATIENCE = 120

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["circdesk.cli", "circdesk.commands.serve", "circdesk.contract.contract"]
)


def run_forked(
    *arguments: str | Path, variables: Mapping[str, str], cwd: Path, given: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run `circdesk` to its end, with these variables beside those of the test."""
    with tempfile.TemporaryDirectory() as directory:
        streams = [Path(directory, name) for name in ("stdin", "stdout", "stderr")]
        for stream in streams:
            stream.write_text(given if stream.name == "stdin" else "")
        command = [*map(str, arguments)]
        process = _FORKS.Process(
            target=_run, args=(streams, command, {**os.environ, **variables}, cwd)
        )
        process.start()
        process.join(PATIENCE)
        code = process.exitcode
        process.kill()
        process.join()
        process.close()
        if code is None:
            raise subprocess.TimeoutExpired(command, PATIENCE)
        return subprocess.CompletedProcess(
            command, code, stdout=streams[1].read_text(), stderr=streams[2].read_text()
        )


def _run(streams: list[Path], command: list[str], environment: dict[str, str], cwd: Path) -> None:
    for number, stream in enumerate(streams):
        file = os.open(stream, os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    # It reads from nowhere otherwise, as all of its kind do.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  It lives as long as the process.
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["circdesk", *command]
    main()
