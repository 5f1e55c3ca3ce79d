"""Metrics of several processes: each has files of its own, and whoever is asked adds them up.

The files are prometheus_client's own (its multiprocess mode). What they lack is an end: a process
that has gone leaves its files for ever. Here its gauges are dropped, and its counters added to
those of all that went before it, so that no sum ever falls.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# Files of mapped memory must have their room on the disk: where it is full, a process that writes
# to a hole is killed. Bytes that are taken at the start; more than these only a great many series
# would need.
_ROOM = {"counter": 1024**2, "histogram": 4 * 1024**2, "gauge_livesum": 64 * 1024}
_ENDED = "0"
_DOUBLE = Struct("d")


def share_values(directory: Path) -> None:
    """Let metrics that are made from now on keep their values in files there.

    Raises:
        OSError: There is no room for the files.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(directory):
        # Another process that has ended may have had the same id.
        _bury(directory, {str(os.getpid())})
        _bury_ended(directory)
        for kind, size in _ROOM.items():
            _take_room(directory / f"{kind}_{os.getpid()}.db", size)
    os.environ[_VARIABLE] = str(directory)
    # It chooses at import, by the environment.
    values.ValueClass = _value_class()


def _value_class() -> Any:
    """The class of values in files of this process, which never forks once it counts.

    The library's own asks the kernel for the id of the process, and looks the place up, each time.
    """
    lock = Lock()
    value_class: Any = values.MultiProcessValue()  # type: ignore[no-untyped-call]

    class Value(value_class):  # type: ignore[misc]  # It is made by a function.
        """A value that is only ever added to."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            # A file that has grown is mapped anew, which leaves this mapping as it is.
            self._memory = self._file._m  # noqa: SLF001
            start = self._file._positions[self._key]  # noqa: SLF001
            self._place = slice(start, start + _DOUBLE.size)

        def inc(self, amount: float) -> None:
            with lock:
                self._value += amount
                # In one piece, so that no reader ever finds a half of it.
                self._memory[self._place] = _DOUBLE.pack(self._value)

    return Value


@contextmanager
def sums(directory: Path) -> Iterator[CollectorRegistry]:
    """A registry with the sums over all processes, which nobody changes during the block."""
    registry = CollectorRegistry()
    with _alone(directory):
        _bury_ended(directory)
        MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
        yield registry


def _bury_ended(directory: Path) -> None:
    ids = {path.stem.rpartition("_")[2] for path in directory.glob("*.db")} - {_ENDED}
    _bury(directory, {pid for pid in ids if not _lives(int(pid))})


def _bury(directory: Path, ids: set[str]) -> None:
    """Add up the counters of these processes under the name of none, and drop their files."""
    for kind in ("counter", "histogram"):
        files = [path for pid in ids if (path := directory / f"{kind}_{pid}.db").exists()]
        if files:
            _add_up(directory / f"{kind}_{_ENDED}.db", files)
    for pid in ids:
        for path in directory.glob(f"*_{pid}.db"):
            path.unlink()


def _add_up(total: Path, files: list[Path]) -> None:
    """Write the sums to a draft, so that a process that is killed here leaves nothing half done."""
    totals: dict[str, float] = {}
    for path in [total, *files] if total.exists() else files:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            totals[key] = totals.get(key, 0.0) + value
    draft = total.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    written = MmapedDict(str(draft))  # type: ignore[no-untyped-call]
    for key, value in totals.items():
        written.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]
    draft.replace(total)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _take_room(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
