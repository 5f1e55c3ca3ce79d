"""How the operations grow, as a chart in SVG: a panel for each, and search against its matches."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from growth_verdicts import (  # type: ignore[import-not-found]  # It lies beside this file.
    OPERATIONS,
    SEARCHES,
    at_least,
    limit,
)

JSON = dict[str, Any]
Scale = Callable[[float], float]
Points = Sequence[tuple[float, float]]

NAMES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
_P95, _P50, _LIMIT, _TEXT, _PALE = "#1f6f8b", "#d9a441", "#b0b4b8", "#222", "#555"
_COLOURS = ("#d9a441", "#8a9a5b", "#1f6f8b", "#7b5ea7")
_WIDTH, _MARGIN, _HEAD = 960, 16, 84
_COLUMNS, _ACROSS, _DOWN = 4, 232, 150
# Inside a panel: where its lines may be.
_LEFT, _RIGHT, _TOP, _BOTTOM = 22, 190, 44, 116
_SEARCH_HEIGHT = 300


def chart(engine: str, report: JSON) -> str:
    """The chart of one database.

    Args:
        engine: `postgresql` or `sqlite`.
        report: What the benchmark writes; sizes may be texts, as JSON has them.
    """
    found = report[engine]
    times = {int(size): each for size, each in found["operations"].items()}
    rows = math.ceil(len(OPERATIONS) / _COLUMNS)
    height = _HEAD + rows * _DOWN + _SEARCH_HEIGHT
    parts = [*_legend(NAMES[engine], found)]
    for place, (operation, title) in enumerate(OPERATIONS.items()):
        row, column = divmod(place, _COLUMNS)
        at = (_MARGIN + column * _ACROSS, _HEAD + row * _DOWN)
        of_size = {size: each[operation] for size, each in sorted(times.items())}
        parts += _moved(at, _panel(title, of_size, is_bound=operation not in SEARCHES))
    by_size = {int(size): each for size, each in found["search"].items()}
    parts += _moved((_MARGIN, _HEAD + rows * _DOWN), _search(by_size))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" font-size="11">'
    )
    back = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, back, *parts, "</svg>"]) + "\n"


def _legend(name: str, found: JSON) -> Iterator[str]:
    python, rounds = found["machine"]["python"], found["rounds"]
    yield _text(16, 26, f"Milliseconds of each operation by number of books, {name}", size=17)
    under = (
        f"One worker, one caller, cache off; {rounds} rounds, all sizes in turn; Python {python}"
    )
    yield _text(16, 46, under, colour=_PALE)
    entries = ((_P95, "95th percentile"), (_P50, "median"), (_LIMIT, "the most that p95 may be"))
    for place, (colour, meaning) in enumerate(entries):
        left = 16 + place * 150
        yield _line([(left, 64), (left + 20, 64)], colour, is_dashed=colour == _LIMIT)
        yield _text(left + 26, 68, meaning)
    if _given_up(found):
        meaning = "≥ and a ring: longer than the deadline, which ended some of them with a 503"
        yield _text(500, 68, meaning)


def _given_up(found: JSON) -> bool:
    operations = (each for of_size in found["operations"].values() for each in of_size.values())
    searches = (each for of_size in found["search"].values() for each in of_size)
    return bool(at_least(*operations, *searches))


def _panel(title: str, of_size: Mapping[int, JSON], *, is_bound: bool) -> Iterator[str]:
    """Median and p95 of an operation, and how far the latter may grow."""
    sizes = [*of_size]
    first = of_size[sizes[0]]["p95"]
    bounds = [(size, limit(first, sizes[0], size)) for size in sizes[1:]] if is_bound else []
    p95, p50 = ([(size, each[name]) for size, each in of_size.items()] for name in ("p95", "p50"))
    x = _logarithmic(sizes[0], sizes[-1], _LEFT, _RIGHT)
    highest = max(value for _, value in [*p95, *bounds])
    y = _linear(highest, _BOTTOM, _TOP)
    yield _text(_LEFT - 14, 22, title, weight=600)
    yield _line([(_LEFT - 14, _BOTTOM), (_RIGHT + 20, _BOTTOM)], _LIMIT)
    if bounds:
        yield _line(_placed([(sizes[0], first), *bounds], x, y), _LIMIT, is_dashed=True)
    for points, colour in ((p50, _P50), (p95, _P95)):
        yield _line(_placed(points, x, y), colour)
    for size, value in p95:
        sign = at_least(of_size[size])
        yield _dot(x(size), y(value), _P95, is_open=bool(sign))
        yield _text(x(size), y(value) - 7, sign + _short(value), anchor="middle", colour=_P95)
    for size in sizes:
        yield _text(x(size), _BOTTOM + 15, _count(size), anchor="middle", colour=_PALE)


def _search(by_size: Mapping[int, Sequence[JSON]]) -> Iterator[str]:
    """The median of a search by how many books its word matches, both on logarithmic axes."""
    left, right, top, bottom = 46, 700, 44, 240
    shown = [each for searches in by_size.values() for each in searches]
    most = max(10, *(each["matches"] for each in shown))
    low, high = min(each["p50"] for each in shown), max(each["p50"] for each in shown)
    x = _logarithmic(1, 10 ** math.ceil(math.log10(most)), left, right)
    y = _logarithmic(*_decades(low, high), bottom, top)
    yield _text(8, 22, "Search by one word: the median in ms by number of matches", weight=600)
    for value in _powers(*_decades(low, high)):
        yield _line([(left, y(value)), (right, y(value))], "#e4e6e8")
        yield _text(left - 8, y(value) + 4, _short(value), anchor="end", colour=_PALE)
    for value in _powers(1, most):
        yield _text(x(value), bottom + 18, _count(int(value)), anchor="middle", colour=_PALE)
    for place, (size, searches) in enumerate(sorted(by_size.items())):
        colour = _COLOURS[place % len(_COLOURS)]
        points = _placed([(max(1, each["matches"]), each["p50"]) for each in searches], x, y)
        yield _line(points, colour)
        for point, each in zip(points, searches, strict=True):
            yield _dot(*point, colour, is_open=bool(at_least(each)))
        yield _line([(720, 60 + 20 * place), (740, 60 + 20 * place)], colour)
        yield _text(748, 64 + 20 * place, f"among {_count(size)} books")


def _decades(low: float, high: float) -> tuple[float, float]:
    return 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))


def _powers(low: float, high: float) -> list[float]:
    return [10.0**n for n in range(round(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def _logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    width = math.log(high / low) or 1.0
    return lambda value: start + (end - start) * math.log(value / low) / width


def _linear(highest: float, start: float, end: float) -> Scale:
    return lambda value: start + (end - start) * value / highest


def _placed(points: Points, x: Scale, y: Scale) -> list[tuple[float, float]]:
    return [(x(one), y(other)) for one, other in points]


def _moved(at: tuple[float, float], parts: Iterator[str]) -> list[str]:
    return [f'<g transform="translate({at[0]} {at[1]})">', *parts, "</g>"]


def _line(points: Points, colour: str, *, is_dashed: bool = False) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="4 4"' if is_dashed else ""
    return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>'


def _dot(x: float, y: float, colour: str, *, is_open: bool = False) -> str:
    fill = "#ffffff" if is_open else colour
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{fill}" stroke="{colour}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 11,
    weight: int = 400,
    anchor: str = "start",
    colour: str = _TEXT,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _count(number: int) -> str:
    """A number of books in few letters: 10k, 1M."""
    for letter, unit in (("M", 1_000_000), ("k", 1_000)):
        if number >= unit:
            return f"{number / unit:g}{letter}"
    return str(number)
