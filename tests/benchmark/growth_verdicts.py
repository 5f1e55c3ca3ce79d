"""What the times of a growing library say: percentiles, and verdicts that anybody can recompute.

Nothing but search may grow faster than the logarithm of the size, as an index does. Of the noise of
a machine this is taken off: half as much again as the logarithm allows, and a millisecond.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

JSON = dict[str, Any]
# Milliseconds by operation, and by the size of the library before that.
BySize = Mapping[int, Mapping[str, Mapping[str, float]]]

# The operations whose cost is that of their matches.
SEARCHES = {
    "search_few": "search, some 10 matches",
    "search_some": "search, some 1,000 matches",
    "search_many": "search, the most frequent words",
}
OPERATIONS = {
    "book": "one book by its id",
    "isbn": "one book by isbn:",
    "barcode": "one copy by barcode:",
    "page": "page of 20, sorted, filtered",
    "walk_start": "walk by cursor, at the start",
    "walk_end": "walk by cursor, at the end",
    **SEARCHES,
    "loans": "the loans of a member",
    "decision": "decision on a check-out",
    "check_out": "check-out",
    "return": "return",
    "hold": "hold",
    "cancellation": "cancellation of a hold",
    "create": "new book",
    "edit": "edit of a book",
}

NOISE_FACTOR = 1.5
NOISE_MILLISECONDS = 1.0
# The end of a walk may cost so much more than its start, in the median.
MOST_END_TO_START = 1.2
# An import into the largest library has at least this share of its rate into the smallest.
LEAST_IMPORT_RATE = 0.85


class GivenUp(float):
    """The milliseconds after which a service gave up: what it was asked for takes longer."""


def summary(milliseconds: Sequence[float]) -> JSON:
    """Count, median and 95th percentile; of fewer than two, the count alone.

    `over_deadline` is how many were given up, if any: then the others are what they are at least.
    """
    over = sum(isinstance(each, GivenUp) for each in milliseconds)
    counts = {"count": len(milliseconds)} | ({"over_deadline": over} if over else {})
    if len(milliseconds) < 2:
        return counts
    return {
        **counts,
        "p50": round(statistics.median(milliseconds), 3),
        "p95": round(statistics.quantiles(milliseconds, n=20, method="inclusive")[-1], 3),
    }


def at_least(*summaries: Mapping[str, Any]) -> str:
    """The sign before a number that was made of these, if it may be more."""
    return "≥ " if any("over_deadline" in each for each in summaries) else ""


def limit(p95: float, size: int, larger: int) -> float:
    """Up to what an operation may take among more books, if it takes `p95` among fewer."""
    return p95 * math.log(larger) / math.log(size) * NOISE_FACTOR + NOISE_MILLISECONDS


def judge(times: BySize, imports: Mapping[int, float]) -> list[JSON]:
    """A verdict for each operation, for the walk and for the import, on one database.

    Args:
        times: The summaries of each operation by size.
        imports: Records in a second by size.
    """
    smallest, largest = min(times), max(times)
    verdicts = [
        _growth(operation, times, smallest, size)
        for operation in times[smallest]
        for size in sorted(times)[1:]
        if operation not in SEARCHES
    ]
    ends = times[largest]["walk_end"]["p50"] / times[largest]["walk_start"]["p50"]
    verdicts.append(_verdict(f"walk at {largest:,}: end to start, p50", ends, MOST_END_TO_START))
    rate = imports[largest] / imports[smallest]
    what = f"import at {largest:,} to import at {smallest:,}, records/s"
    return [*verdicts, _verdict(what, rate, LEAST_IMPORT_RATE, at_least=True)]


def _growth(operation: str, times: BySize, size: int, larger: int) -> JSON:
    allowed = limit(times[size][operation]["p95"], size, larger)
    what = f"{operation} at {larger:,}, p95 in ms"
    return _verdict(what, times[larger][operation]["p95"], allowed)


def _verdict(what: str, value: float, bound: float, *, at_least: bool = False) -> JSON:
    met = value >= bound if at_least else value <= bound
    name = "at_least" if at_least else "at_most"
    return {"what": what, "value": round(value, 3), name: round(bound, 3), "met": met}


def told(verdicts: Sequence[JSON]) -> str:
    """A line for each."""
    lines = []
    for each in verdicts:
        bound = f"<= {each['at_most']}" if "at_most" in each else f">= {each['at_least']}"
        met = "ok  " if each["met"] else "FAIL"
        lines.append(f"{met} {each['what']}: {each['value']} {bound}")
    return "\n".join(lines) + "\n"
