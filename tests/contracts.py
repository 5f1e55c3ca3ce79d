"""The contract of this repository, read once for all tests of a process: it takes a second."""

from functools import cache

from circdesk.contract.contract import Contract
from circdesk.contract.documents import Bundle, load_bundle
from circdesk.resources import directory


@cache
def bundle() -> Bundle:
    """The bundled contract, which no test changes."""
    return load_bundle(directory("openapi"))


@cache
def contract() -> Contract:
    """The contract with its operations, unchecked."""
    return Contract(bundle())
