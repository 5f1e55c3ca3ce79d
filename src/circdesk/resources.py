"""Where the files beside the code are: the contract and the migrations."""

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parent


def directory(name: Literal["openapi", "alembic"]) -> Path:
    """The directory of that name: packaged in a wheel, at the root of the repository in a checkout.

    Raises `FileNotFoundError` where the installation is incomplete.
    """
    packaged = _PACKAGE / f"_{name}"
    candidates = (packaged, _PACKAGE.parents[1] / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the directory {name!r} is missing: neither of {candidates} exists")
