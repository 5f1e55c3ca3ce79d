"""The release: what of an answer is the same for all rows and all callers."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import circdesk
from circdesk.resources import directory
from circdesk.settings import Settings


def release_of(settings: Settings) -> str:
    """What answers follow from besides rows and callers: code, contract, and the currency.

    The number of a version would not do: between two of them the code changes, too.
    """
    package = Path(circdesk.__file__).parent
    # What is kept beside the contract is made of it, by whoever starts first, at any moment.
    contract = directory("openapi").rglob("*.yaml")
    files = hash_files({"code": package.rglob("*.py"), "contract": contract})
    return f"{files} {settings.currency}"


def hash_files(kinds: Mapping[str, Iterable[Path]]) -> str:
    """The hash of files of several kinds, wherever they are: of their names and contents."""
    digest = hashlib.blake2b(digest_size=16)
    for kind, paths in kinds.items():
        for path in sorted(path for path in paths if path.is_file()):
            content = hashlib.blake2b(path.read_bytes()).hexdigest()
            digest.update(f"{kind} {path.name} {content}\n".encode())
    return digest.hexdigest()
