"""The numbers of `docs/growth.md`, worked out of `docs/benchmark/growth.json`.

    python tests/benchmark/paper.py

`make bench-growth` does it at its end. What stands between the two marks of the page is written
anew; all else of it stays.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from growth_verdicts import at_least  # type: ignore[import-not-found]  # It lies beside this file.

JSON = dict[str, Any]

REPORT = Path("docs/benchmark/growth.json")
PAGE = Path("docs/growth.md")
BEGINNING, END = "<!-- numbers: written by tests/benchmark/paper.py -->", "<!-- end of numbers -->"

BOOKS, RATE = 100_000_000, 1_000
# Of a thousand requests: what they are, by the name of the rate that was measured.
MIX = {"book": 0.50, "page": 0.25, "search_few": 0.20, "desk": 0.05}
# What `desk` is in terms of operations: half of its requests lend, half of them return.
_DESK = ("check_out", "return")
# At half of its top rate a worker still answers nearly as fast as one that is idle.
LOAD = 0.5
# Keys on a page of a B-tree, which has 8 kB: 16 bytes of a key, 8 of a pointer, 4 of a place, in
# pages that are two thirds full.
KEYS_ON_PAGE = 195
MOST_FREQUENT_SHARE = 1 / 3


def fill_in(page: str, report: JSON) -> str:
    """The page with the numbers of the report. Raises ValueError if a mark is missing."""
    before, _, rest = page.partition(BEGINNING)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the page lacks {BEGINNING} or {END}")
    return "\n".join([f"{before}{BEGINNING}", "", *numbers(report), "", f"{END}{after}"])


def numbers(report: JSON) -> Iterator[str]:
    """Tables of Markdown: what was measured, and what follows from it."""
    sizes = sorted(report["sizes"])
    for engine, name in (("postgresql", "PostgreSQL"), ("sqlite", "SQLite")):
        if engine not in report:
            continue
        yield f"p95 in ms on {name} ({_met(report[engine]['verdicts'])}):"
        yield ""
        yield from _measured(report[engine], sizes)
        yield ""
    if "postgresql" not in report:
        return
    yield f"What {BOOKS:,} books and {RATE:,} requests/s would need, from {sizes[-1]:,} books:"
    yield ""
    yield "| what | reckoned | result |"
    yield "|---|---|--:|"
    for row in _reckoned(report["postgresql"], sizes[-1]):
        yield f"| {' | '.join(row)} |"


def _met(verdicts: Sequence[JSON]) -> str:
    met = sum(each["met"] for each in verdicts)
    return f"{met} of {len(verdicts)} goals are met"


def _measured(found: JSON, sizes: Sequence[int]) -> Iterator[str]:
    yield f"| | {' | '.join(f'{size:,}' for size in sizes)} |"
    yield f"|---|{'--:|' * len(sizes)}"
    for operation in found["operations"][str(sizes[0])]:
        cells = (_p95(found["operations"][str(size)][operation]) for size in sizes)
        yield f"| {operation} | {' | '.join(cells)} |"
    rates = (found["imports"][str(size)]["median"] for size in sizes)
    yield f"| import, records/s | {' | '.join(f'{rate:,.0f}' for rate in rates)} |"


def _p95(times: JSON) -> str:
    p95 = f"{at_least(times)}{times['p95']:.1f}"
    over = times.get("over_deadline")
    return f"{p95} ({over} of {times['count']} over the deadline)" if over else p95


def _reckoned(found: JSON, size: int) -> Iterator[tuple[str, str, str]]:
    yield from _disk(found["bytes"][str(size)], size)
    yield from _workers(found["rates"], found["operations"][str(size)])
    yield from _searching(found["search"][str(size)])
    rate = found["imports"][str(size)]["median"]
    hours = BOOKS / rate / 3600
    yield "import of all", f"{BOOKS:,} / {rate:,.0f} records/s / 3,600", f"{hours:,.0f} h"


def _disk(of_all: JSON, size: int) -> Iterator[tuple[str, str, str]]:
    for what, name in (
        ("disk", "all"),
        ("of it indexes", "indexes"),
        ("of these that of search", "index_of_search"),
    ):
        each = of_all[name] / size
        reckoned = f"{of_all[name]:,} B / {size:,} books = {each:,.0f} B, times {BOOKS:,}"
        yield what, reckoned, f"{each * BOOKS / 1e9:,.0f} GB"
    now, then = (_levels(books) for books in (size, BOOKS))
    reckoned = f"{KEYS_ON_PAGE} keys on a page: {KEYS_ON_PAGE}^{then} >= {BOOKS:,}"
    yield "levels of a B-tree", reckoned, f"{then}, instead of {now}"


def _levels(books: int) -> int:
    """Pages that a look-up of one key reads of its index."""
    levels, reached = 1, KEYS_ON_PAGE
    while reached < books:
        levels, reached = levels + 1, reached * KEYS_ON_PAGE
    return levels


def _workers(
    rates: Mapping[str, float], operations: Mapping[str, JSON]
) -> Iterator[tuple[str, str, str]]:
    parts = {name: RATE * share / rates[name] for name, share in MIX.items()}
    reckoned = " + ".join(f"{RATE * MIX[name]:.0f} / {rates[name]:,.0f}" for name in MIX)
    cores = sum(parts.values())
    yield "cores that are busy", f"{', '.join(MIX)}: {reckoned}", f"{cores:.1f}"
    yield "workers, each half busy", f"{cores:.1f} / {LOAD}", f"{-(-cores // LOAD):.0f}"
    seconds = {name: _median(operations, name) / 1000 for name in MIX}
    reckoned = " + ".join(f"{RATE * MIX[name]:.0f} x {seconds[name]:.4f} s" for name in MIX)
    at_once = sum(RATE * MIX[name] * seconds[name] for name in MIX)
    yield "requests at a time", f"{', '.join(MIX)}: {reckoned}", f"{at_once:.1f}"
    writes = RATE * MIX["desk"]
    commit = 1000 / seconds["desk"] / 1000
    yield (
        "desk on one connection",
        f"1 / {seconds['desk']:.4f} s",
        f"{commit:,.0f}/s of {writes:.0f}",
    )


def _median(operations: Mapping[str, JSON], name: str) -> float:
    """Milliseconds of an operation of the mix."""
    names = _DESK if name == "desk" else (name,)
    return sum(float(operations[each]["p50"]) for each in names) / len(names)


def _searching(searches: Sequence[JSON]) -> Iterator[tuple[str, str, str]]:
    """What a search costs by its matches; what comes beyond the last is on a straight line."""
    for each in searches:
        if each["matches"] >= 10:
            yield (
                "search",
                f"{each['matches']:,} matches, measured",
                f"{at_least(each)}{each['p50']:.1f} ms",
            )
    less, most = searches[-2], searches[-1]
    slope = max(0.0, most["p50"] - less["p50"]) / (most["matches"] - less["matches"])
    matches = BOOKS * MOST_FREQUENT_SHARE
    reckoned = (
        f"{matches:,.0f} matches, with {slope * 1e6:.1f} ms for a million as between the last two"
    )
    seconds = (most["p50"] + slope * matches) / 1000
    yield "search, most frequent word", reckoned, f"{at_least(less, most)}{seconds:.1f} s"


if __name__ == "__main__":
    PAGE.write_text(fill_in(PAGE.read_text(), json.loads(REPORT.read_text())))
