"""The bundle, kept beside its files: to make it would take a seventh of the start.

It lies in `__pycache__`, as what Python compiles does, and may be removed at any time.
"""

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import yaml

from circdesk.contract.documents import Bundle, load_bundle

_KEPT = Path("__pycache__", "bundle.json")


def kept_bundle(root: Path) -> Bundle:
    """The bundle of the files under `root`, made anew where any of them is not what it was.

    Raises:
        ContractError: As `load_bundle` does.
    """
    made_from = _digest(root)
    bundle = _read(root / _KEPT, made_from)
    if bundle is None:
        bundle = load_bundle(root)
        # A file may have been written to meanwhile.
        if not sys.dont_write_bytecode and made_from == _digest(root):
            _write(root / _KEPT, made_from, bundle)
    return bundle


def _digest(root: Path) -> str:
    """What tells the files under `root` from all others, and the code that bundles them, too."""
    digest = hashlib.sha256(yaml.__version__.encode())
    for path in sorted((*root.rglob("*"), *Path(__file__).parent.glob("*.py"))):
        # Of what cannot be read, such as a directory, whoever bundles it tells what is wrong.
        with suppress(OSError):
            if path.parent != (root / _KEPT).parent:
                content = path.read_bytes()
                digest.update(f"\n{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _read(kept: Path, made_from: str) -> Bundle | None:
    try:
        head, _, body = kept.read_bytes().partition(b"\n")
        return Bundle(*json.loads(body)) if head == made_from.encode() else None
    except (OSError, ValueError):
        # There is none, or not all of it.
        return None


def _write(kept: Path, made_from: str, bundle: Bundle) -> None:
    unfinished = kept.with_suffix(f".{os.getpid()}")
    # Where nothing may be written, each start makes its own.
    with suppress(OSError):
        kept.parent.mkdir(exist_ok=True)
        unfinished.write_text(f"{made_from}\n{json.dumps(bundle)}")
        unfinished.replace(kept)
