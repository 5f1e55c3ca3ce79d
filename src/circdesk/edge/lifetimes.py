"""Lifetimes: how long which answers may be kept, and what they depend on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long the answer of an operation is good, and what it depends on.

    Attributes:
        seconds: How long it may be kept, here and elsewhere.
        resources: What it depends on; one that depends on nothing is not kept here, as it costs
            no more to make than to find.
        one: The argument that names a single row of the first resource. Where it is the id, the
            answer depends on nothing but this row.
        filters: What it depends on besides, where these arguments are given.
    """

    seconds: int
    resources: tuple[str, ...] = ()
    one: str | None = None
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def depends_on(self, arguments: Mapping[str, Any]) -> Sequence[str]:
        """The resources that the answer to these arguments depends on."""
        identity = _as_id(arguments[self.one]) if self.one else None
        if identity is not None:
            return (f"{self.resources[0]}:{identity}", f"{self.resources[0]}:*")
        given = [name for name in self.filters if arguments.get(name) is not None]
        return (*self.resources, *(name for each in given for name in self.filters[each]))


# Every operation whose answer may be kept by anybody. What shows availability changes with each
# loan; names and branches change by the month.
LIFETIMES: Mapping[str, Lifetime] = {
    "list_copies": Lifetime(5, ("copies",), filters={"branch": ("branches",), "book": ("books",)}),
    "list_book_copies": Lifetime(5, ("books", "copies"), one="book_id"),
    "get_copy": Lifetime(5, ("copies",), one="copy_id"),
    "list_books": Lifetime(10, ("books", "copies"), filters={"branch": ("branches",)}),
    "list_author_books": Lifetime(10, ("books", "copies")),
    "get_book": Lifetime(10, ("books", "copies"), one="book_id"),
    "get_book_facets": Lifetime(
        60, ("books",), filters={"branch": ("copies", "branches"), "available": ("copies",)}
    ),
    "list_authors": Lifetime(60, ("authors",)),
    "get_author": Lifetime(60, ("authors",)),
    "list_subjects": Lifetime(60, ("subjects",)),
    "get_subject": Lifetime(60, ("subjects",)),
    # A post says itself from when it is; no list leaves it out by the time at which it is asked.
    "list_posts": Lifetime(60, ("posts",)),
    "get_post": Lifetime(60, ("posts",), one="post_id"),
    "list_branches": Lifetime(300, ("branches",)),
    "get_branch": Lifetime(300, ("branches",)),
    "get_index": Lifetime(300),
    "list_problems": Lifetime(300),
    "get_problem": Lifetime(300),
}


def _as_id(value: object) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None
