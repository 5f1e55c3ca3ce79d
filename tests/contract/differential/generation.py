"""The requests of the differential test, the same in each run."""

from collections import defaultdict
from collections.abc import Iterator
from random import Random

from circdesk.contract.operations import Operation
from tests.contract.differential.bodies import bodies
from tests.contract.differential.callers import callers
from tests.contract.differential.examples import documented, operations
from tests.contract.differential.lines import lines
from tests.contract.differential.queries import queries
from tests.contract.differential.requests import Credentials, Request

# Of each kind so many, spread over all operations; of the documented ones all.
OF_A_KIND = 8
DOCUMENTED = "as documented"


def requests(credentials: Credentials) -> list[Request]:
    """Requests of every kind to operations that are drawn, by a seed, from all that have it."""
    kinds: dict[str, list[Request]] = defaultdict(list)
    for operation in operations():
        for request in _all(operation, credentials):
            kinds[request.kind].append(request)
    return [
        request
        for kind, found in kinds.items()
        for request in (found if kind == DOCUMENTED else _some(kind, found))
    ]


def _all(operation: Operation, credentials: Credentials) -> Iterator[Request]:
    request = documented(operation, credentials)
    if operation.lenient:
        # OAuth's endpoints read their requests by rules of their own.
        for found in (request, *lines(request), *queries(request)):
            yield found.but(kind=f"to OAuth: {found.kind}")
        return
    yield request
    yield from lines(request)
    yield from queries(request)
    yield from bodies(request)
    yield from callers(request, credentials)


def _some(kind: str, found: list[Request]) -> list[Request]:
    # Which ones must be drawn alike in each run, and needs no secrecy.
    return Random(kind).sample(found, min(OF_A_KIND, len(found)))
