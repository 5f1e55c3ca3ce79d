"""Names of Open Library's authors by key, on disk: the dump has more than ten million."""

import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from circdesk.catalog.imports.reading.cleaning import AUTHOR, clean

_BATCH = 10_000


class AuthorNames:
    """A map from key to name that lasts for one run; use it as a context manager."""

    def __init__(self) -> None:
        # SQLite keeps a database without a name in a temporary file and removes it by itself. A
        # worker may read in another thread than the one that made the map, one after the other.
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute("CREATE TABLE names (key TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")
        self._new: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def add(self, key: str, name: str) -> None:
        """Remember a name; a later one for the same key replaces it."""
        self._new[key] = name
        if len(self._new) >= _BATCH:
            self._store()

    def names_of(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the names that are known, by key, in the order of the keys."""
        return {key: name for key in keys if (name := self._name_of(key))}

    def _name_of(self, key: str) -> str | None:
        if key in self._new:
            return self._new[key]
        row = self._database.execute("SELECT name FROM names WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def _store(self) -> None:
        rows = self._new.items()
        self._database.executemany("INSERT OR REPLACE INTO names VALUES (?, ?)", rows)
        self._database.commit()
        self._new.clear()


def name_in(author: dict[str, Any]) -> str | None:
    """Return the author's name as Open Library writes it, "Forename Surname"."""
    name = author.get("name")
    return clean(name, AUTHOR) if isinstance(name, str) else None
