"""Authors and subjects by name: matched or created, safely beside other processes."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Connection, select
from uuid_utils import uuid7

from circdesk.catalog.imports.writing.bulk import among, insert_rows
from circdesk.catalog.models import Author, Subject
from circdesk.db.text import sort_key

_MOST_REMEMBERED = 50_000
_COLUMNS = ("id", "name", "sort_name", "created_at", "updated_at")


class NameIds:
    """The ids of one kind of name, remembered across the batches of an import.

    What a batch found or created is remembered only once it is committed.
    """

    def __init__(self, model: type[Author] | type[Subject]) -> None:
        self._model = model
        self._ids: dict[str, str] = {}
        self._new: dict[str, str] = {}

    def resolve(self, connection: Connection, names: Iterable[str], now: str) -> dict[str, str]:
        """The id of each name, in hexadecimal digits; names that are not there are created."""
        found: dict[str, str] = {}
        missing: dict[str, str] = {}
        for name in names:
            known = self._ids.get(name)
            if known is None:
                missing[name] = sort_key(name)
            else:
                found[name] = known
        if missing:
            ids = self._find_or_create(connection, missing, now)
            self._new = {name: ids[key] for name, key in missing.items()}
            found |= self._new
        return found

    def keep(self) -> None:
        """Remember what the batch found, as it is committed."""
        if len(self._ids) > _MOST_REMEMBERED:
            self._ids.clear()
        self._ids |= self._new
        self._new = {}

    def forget(self) -> None:
        """Know nothing, as somebody else has deleted or created names."""
        self._ids, self._new = {}, {}

    def _find_or_create(
        self, connection: Connection, missing: dict[str, str], now: str
    ) -> dict[str, str]:
        names = {key: name for name, key in reversed(missing.items())}
        ids = self._find(connection, names)
        # Everybody creates in the order of the keys, so that no two wait for each other.
        new = sorted(names.keys() - ids.keys())
        if new:
            rows = [(uuid7().hex, names[key], key, now, now) for key in new]
            insert_rows(connection, self._model, _COLUMNS, rows, or_ignore=True)
            # Others may have created some in the meantime; theirs count.
            ids |= self._find(connection, new)
        return ids

    def _find(self, connection: Connection, keys: Iterable[str]) -> dict[str, str]:
        key, identity = self._model.sort_name, self._model.id
        query = select(key, identity).where(among(connection, key, list(keys)))
        return {key: id_hex(identity) for key, identity in connection.execute(query)}


def id_hex(identity: UUID) -> str:
    """An id as imports write it; `UUID.hex` does the same in three times the time."""
    return f"{identity.int:032x}"
