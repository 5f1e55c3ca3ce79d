"""The demo library: real books, two made-up branches and their news, for `circdesk serve --demo`.

`books.csv` has the columns of every CSV import, and holds facts only: no summary, no prose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable


@dataclass(frozen=True, slots=True)
class DemoBranch:
    """A branch of the demo library; hours are local to `time_zone`, an IANA name.

    `opening_hours` maps each weekday in lower case to its [opens, closes] pairs; a weekday with
    none is closed. `closed_days` are ISO dates on which the branch stays closed besides.
    """

    code: str
    name: str
    address: str
    time_zone: str
    opening_hours: Mapping[str, Sequence[Sequence[str]]]
    closed_days: Sequence[str]


@dataclass(frozen=True, slots=True)
class DemoPost:
    """A piece of news, in plain text."""

    title: str
    body: str
    author: str
    tags: Sequence[str] = field(default_factory=tuple)


# Two time zones, so that a due date can be seen to belong to its branch.
BRANCHES = (
    DemoBranch(
        code="central",
        name="Central Library",
        address="Lindenplatz 1, 20099 Hamburg, Germany",
        time_zone="Europe/Berlin",
        opening_hours={
            "monday": [],
            "tuesday": [["10:00", "19:00"]],
            "wednesday": [["10:00", "19:00"]],
            "thursday": [["10:00", "20:00"]],
            "friday": [["10:00", "19:00"]],
            "saturday": [["10:00", "16:00"]],
            "sunday": [],
        },
        closed_days=["2026-12-25", "2026-12-26", "2027-01-01", "2027-03-26", "2027-05-01"],
    ),
    DemoBranch(
        code="harbour",
        name="Harbour Branch",
        address="Cais do Sodré 12, 1200-161 Lisboa, Portugal",
        time_zone="Europe/Lisbon",
        opening_hours={
            "monday": [["09:30", "13:00"], ["14:00", "18:00"]],
            "tuesday": [["09:30", "13:00"], ["14:00", "18:00"]],
            "wednesday": [["09:30", "13:00"], ["14:00", "18:00"]],
            "thursday": [["09:30", "13:00"], ["14:00", "18:00"]],
            "friday": [["09:30", "13:00"]],
            "saturday": [["10:00", "13:00"]],
            "sunday": [],
        },
        closed_days=["2026-12-08", "2026-12-25", "2027-01-01", "2027-04-25", "2027-06-10"],
    ),
)

POSTS = (
    DemoPost(
        title="The Harbour Branch opens on Saturdays",
        body=(
            "From this month on the Harbour Branch is open on Saturdays from ten to one. "
            "Books from the Central Library can be collected there too: choose the branch "
            "when you place a hold."
        ),
        author="Circdesk demo team",
        tags=("opening-hours", "harbour"),
    ),
    DemoPost(
        title="Reading group: The Left Hand of Darkness",
        body=(
            "The reading group meets at the Central Library on the first Thursday of the month "
            "at half past six. We begin with Ursula K. Le Guin; everybody is welcome, also "
            "without having finished the book."
        ),
        author="Circdesk demo team",
        tags=("events", "science-fiction"),
    ),
    DemoPost(
        title="Books in more than twenty languages",
        body=(
            "The shelf of original editions has grown: you now find novels in Polish, Arabic, "
            "Japanese and Russian beside the German, French and Italian ones. Search by "
            "language, with or without accents."
        ),
        author="Circdesk demo team",
        tags=("collection", "languages"),
    ),
    DemoPost(
        title="Not only books",
        body=(
            "Audiobooks, scores, films, a map of Oban and a role-playing game can be borrowed "
            "like any book. Look for the material type in the catalogue."
        ),
        author="Circdesk demo team",
        tags=("collection",),
    ),
)


def books_csv() -> Traversable:
    """Return the packaged catalogue: UTF-8, comma-separated, with a header row."""
    return files(__name__) / "books.csv"
