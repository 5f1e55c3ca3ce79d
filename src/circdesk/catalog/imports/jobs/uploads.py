"""Files that were sent to be imported, kept until they are."""

import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from time import time
from typing import BinaryIO, ClassVar, cast
from uuid import uuid4

from circdesk.catalog.imports.reading.formats import Format, read_records
from circdesk.catalog.imports.reading.records import NotThisFormatError
from circdesk.catalog.imports.reading.sniffing import HEAD, raise_if_contradicted
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import InvalidRequest

_PART = ".part"
_BLOCK = 1 << 18
# A file may stand there for a moment before the job that it belongs to is committed.
_SECONDS_WITHOUT_A_JOB = 3600


class FileContradictsFormat(Problem):
    """The file is not what its media type says."""

    code: ClassVar[str] = "file_contradicts_format"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The file is not what its media type says."
    advice: ClassVar[str] = "Send the file with the media type of its format, unpacked."


class UploadNotStored(Problem):
    """The file cannot be kept, most often because the disk is full."""

    code: ClassVar[str] = "upload_not_stored"
    status: ClassVar[int] = 503
    title: ClassVar[str] = "The file cannot be stored at the moment."
    advice: ClassVar[str] = "Nothing was stored. Send the file again later, or tell the operator."


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """A file by its name in the directory of uploads, and its size."""

    name: str
    bytes: int


def store_upload(directory: Path, stream: RawIOBase, fmt: Format) -> StoredUpload:
    """Write the stream to a file as it arrives, whole and safe on the disk, or not at all.

    Raises:
        InvalidRequest: It is empty.
        FileContradictsFormat: It is something else than it is said to be.
        UploadNotStored: The disk does not take it.
        ContentTooLarge, RequestTimeout: From the stream.
    """
    name = uuid4().hex
    part = directory / f"{name}{_PART}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            _copy(stream, file, fmt)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if fmt is Format.CSV:
            _raise_for_header(part)
        part.rename(directory / name)
        _sync(directory)
    except NotThisFormatError as error:
        raise contradiction(error) from None
    except OSError as error:
        message = f"The file cannot be stored: {error.strerror or 'the disk failed'}."
        raise UploadNotStored(message, headers={"Retry-After": "60"}) from error
    finally:
        part.unlink(missing_ok=True)
    return StoredUpload(name, size)


def contradiction(error: NotThisFormatError) -> FileContradictsFormat:
    """The problem of a file that is something else."""
    return FileContradictsFormat(str(error), details=[fault("body", "", "format", str(error))])


def remove_upload(directory: Path, name: str | None) -> None:
    """Delete a file that is no longer needed, if it is still there."""
    if name:
        (directory / name).unlink(missing_ok=True)


def remove_leftovers(directory: Path, needed: Collection[str]) -> None:
    """Delete what requests and jobs that were killed have left behind."""
    newest = time() - _SECONDS_WITHOUT_A_JOB
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name not in needed and path.is_file() and path.stat().st_mtime < newest:
            path.unlink(missing_ok=True)


def _copy(stream: RawIOBase, file: BinaryIO, fmt: Format) -> None:
    head = b""
    while len(head) < HEAD and (some := stream.read(HEAD - len(head))):
        head += some
    if not head:
        message = "The body is empty."
        raise InvalidRequest(message, details=[fault("body", "", "required", message)])
    # What is something else is refused before it has arrived whole.
    raise_if_contradicted(head, fmt)
    file.write(head)
    shutil.copyfileobj(cast("BinaryIO", stream), file, _BLOCK)


def _raise_for_header(path: Path) -> None:
    """Only the whole header tells whether a CSV file is one of ours."""
    with path.open("rb") as stream:
        next(iter(read_records(stream, Format.CSV)), None)


def _sync(directory: Path) -> None:
    """Make the new name as durable as the file (see fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
