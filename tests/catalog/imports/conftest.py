"""Records made to measure, and the real ones beside the project."""

from collections.abc import Callable
from pathlib import Path

import pytest

MarcMaker = Callable[..., bytes]

SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "data" / "marc"


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real records, which is no part of the project."""
    if not SAMPLES.is_dir():
        pytest.skip(f"there are no real records in {SAMPLES}")
    return SAMPLES


@pytest.fixture(scope="session")
def marc() -> MarcMaker:
    """A maker of binary records: `marc(("245", "10", "aTitle"), ...)`; `$` parts subfields.

    Control fields are pairs of tag and text; data fields bring indicators and text.
    """
    return _marc


def _marc(*fields: tuple[str | bytes, ...], leader: str = "00000cam a2200000 a 4500") -> bytes:
    directory = data = b""
    for tag, *texts in fields:
        field = _field(texts) + b"\x1e"
        directory += _bytes(tag) + f"{len(field):04}{len(data):05}".encode()
        data += field
    base = 24 + len(directory) + 1
    length = base + len(data) + 1
    head = f"{length:05}{leader[5:12]}{base:05}{leader[17:]}".encode()
    return head + directory + b"\x1e" + data + b"\x1d"


def _field(texts: list[str | bytes]) -> bytes:
    if len(texts) == 1:
        return _bytes(texts[0])
    indicators, text = map(_bytes, texts)
    return indicators + b"\x1f" + text.replace(b"$", b"\x1f")


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
