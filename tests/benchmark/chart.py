"""The rates as a chart, in SVG, and as a table, in Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from html import escape

# Requests in a second, by contestant and operation, one for each round.
Rates = Mapping[str, Mapping[str, Sequence[float]]]

OPERATIONS = {
    "book": "one book by its id",
    "page": "a page of 20, sorted and filtered",
    "search": "full-text search",
    "desk": "check-out with its return",
    "304": "conditional GET, answered 304",
    "400": "400 with three faults",
}
_COLOURS = {"circdesk": "#1f6f8b", "orm": "#d9a441", "sql": "#8a9a5b", "floor": "#9aa0a6"}
_MEANINGS = {
    "circdesk": "circdesk",
    "orm": "others, ORM",
    "sql": "others, our SQL",
    "floor": "floor: no checks",
}
_WIDTH, _LEFT, _RIGHT, _BAR, _HEAD = 860, 190, 90, 16, 34


def chart(rates: Rates, kinds: Mapping[str, str], subtitle: str) -> str:
    """A panel for each operation, a bar for each contestant, a thin line from worst to best round.

    Args:
        rates: What was measured.
        kinds: The kind of each contestant, by its name.
        subtitle: What was measured where.
    """
    parts, top = [*_legend(subtitle)], 84
    for operation, title in OPERATIONS.items():
        shown = {name: each[operation] for name, each in rates.items() if operation in each}
        parts += _panel(title, shown, kinds, top)
        top += _HEAD + len(shown) * (_BAR + 4) + 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" '
        f'viewBox="0 0 {_WIDTH} {top}" font-family="system-ui, sans-serif" font-size="12">'
    )
    back = f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>'
    return "\n".join([head, back, *parts, "</svg>"]) + "\n"


def _legend(subtitle: str) -> list[str]:
    title = "Requests in a second, on one core"
    parts = [
        f'<text x="16" y="26" font-size="17" font-weight="600" fill="#222">{title}</text>',
        f'<text x="16" y="46" fill="#555">{escape(subtitle)}</text>',
    ]
    for place, (kind, meaning) in enumerate(_MEANINGS.items()):
        left = 16 + place * 150
        parts.append(
            f'<rect x="{left}" y="58" width="12" height="12" fill="{_COLOURS[kind]}"/>'
            f'<text x="{left + 18}" y="68" fill="#222">{meaning}</text>'
        )
    return parts


def _panel(
    title: str, shown: Mapping[str, Sequence[float]], kinds: Mapping[str, str], top: int
) -> list[str]:
    longest = max(max(of_rounds) for of_rounds in shown.values())
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    parts = [f'<text x="16" y="{top + 20}" font-weight="600" fill="#222">{escape(title)}</text>']
    for place, (name, of_rounds) in enumerate(shown.items()):
        y = top + _HEAD + place * (_BAR + 4)
        middle, text_y, line_y = statistics.median(of_rounds), y + _BAR - 4, y + _BAR / 2
        low, high = (_LEFT + value * scale for value in (min(of_rounds), max(of_rounds)))
        parts.append(
            f'<text x="{_LEFT - 8}" y="{text_y}" text-anchor="end" fill="#222">'
            f"{escape(name)}</text>"
            f'<rect x="{_LEFT}" y="{y}" width="{middle * scale:.1f}" height="{_BAR}" '
            f'fill="{_COLOURS[kinds[name]]}"/>'
            f'<path d="M{low:.1f} {line_y}H{high:.1f}" stroke="#222"/>'
            f'<text x="{high + 6:.1f}" y="{text_y}" fill="#222">{middle:,.0f}</text>'
        )
    return parts


def table(rates: Rates) -> str:
    """Medians with half the distance between the worst and the best round, in Markdown."""
    lines = [
        f"| | {' | '.join(OPERATIONS.values())} |",
        f"|---|{'--:|' * len(OPERATIONS)}",
    ]
    for name, by_operation in rates.items():
        cells = (_cell(by_operation.get(operation)) for operation in OPERATIONS)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(of_rounds: Sequence[float] | None) -> str:
    if of_rounds is None:
        return ""
    spread = (max(of_rounds) - min(of_rounds)) / 2
    return f"{statistics.median(of_rounds):,.0f} ± {spread:,.0f}"
