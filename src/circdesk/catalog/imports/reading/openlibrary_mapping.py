"""From the JSON of an Open Library edition to the facts of a book.

The data are what people typed in: each value is looked at before it is believed.
"""

from typing import Any

from circdesk.catalog.imports.reading import cleaning
from circdesk.catalog.imports.reading.cleaning import clean, distinct
from circdesk.catalog.imports.reading.records import SourceBook, UnreadableRecordError
from circdesk.catalog.imports.reading.values import isbns_of, language_of, year_in

# Words in "physical_format", the first that fits counts.
_FORMATS = (
    ("audio", "audiobook"),
    ("ebook", "ebook"),
    ("e-book", "ebook"),
    ("electronic", "ebook"),
    ("kindle", "ebook"),
    ("dvd", "video"),
    ("video", "video"),
    ("vhs", "video"),
    ("music cd", "music"),
    ("sheet music", "score"),
    ("musical score", "score"),
    ("map", "map"),
    ("board game", "game"),
    ("journal", "periodical"),
    ("magazine", "periodical"),
    ("periodical", "periodical"),
)


def book_of(edition: dict[str, Any], names: dict[str, str]) -> tuple[SourceBook, list[str]]:
    """Return the book and notes on what was left out; `names` are the known authors by key.

    Raises `UnreadableRecordError` for an edition without a title.
    """
    isbns, notes = isbns_of([*_texts(edition, "isbn_13"), *_texts(edition, "isbn_10")])
    unknown = [key for key in keys_in(edition, "authors") if key not in names]
    notes += [f"No name for author {key}; left out." for key in unknown[: cleaning.MOST_NOTES]]
    languages = [key.rpartition("/")[2] for key in keys_in(edition, "languages")]
    book = SourceBook(
        title=_title(edition),
        subtitle=clean(_text(edition, "subtitle"), cleaning.SUBTITLE),
        authors=distinct(names.values(), cleaning.MOST_AUTHORS),
        isbns=isbns,
        publisher=next(iter(_cleaned(edition, "publishers", cleaning.PUBLISHER)), None),
        year=year_in(_text(edition, "publish_date") or ""),
        language=next((code for text in languages if (code := language_of(text))), None),
        subjects=distinct(_cleaned(edition, "subjects", cleaning.SUBJECT), cleaning.MOST_SUBJECTS),
        summary=clean(_text(edition, "description"), cleaning.SUMMARY),
        material_type=_material_type(_text(edition, "physical_format") or ""),
        edition=clean(_text(edition, "edition_name"), cleaning.EDITION),
    )
    return book, notes


def keys_in(thing: dict[str, Any], name: str) -> list[str]:
    """Return the keys in a list of links: `{"key": "/authors/OL1A"}`, or the key alone."""
    keys = [link.get("key") if isinstance(link, dict) else link for link in _list(thing, name)]
    return list(dict.fromkeys(key for key in keys if isinstance(key, str)))


def _title(edition: dict[str, Any]) -> str:
    """Join the title with its article, which older editions keep apart."""
    article = _text(edition, "title_prefix") or ""
    title = clean(_text(edition, "title"), cleaning.TITLE)
    if not title:
        raise UnreadableRecordError("title_missing", "The edition has no title.")
    return clean(f"{article} {title}", cleaning.TITLE) or title


def _text(thing: dict[str, Any], name: str) -> str | None:
    """Return a text, which may be wrapped: `{"type": "/type/text", "value": "..."}`."""
    value = thing.get(name)
    if isinstance(value, dict):
        value = value.get("value")
    return value if isinstance(value, str) else None


def _texts(thing: dict[str, Any], name: str) -> list[str]:
    return [value for value in _list(thing, name) if isinstance(value, str)]


def _cleaned(thing: dict[str, Any], name: str, limit: int) -> list[str]:
    return [text for value in _texts(thing, name) if (text := clean(value, limit))]


def _list(thing: dict[str, Any], name: str) -> list[Any]:
    value = thing.get(name)
    return value if isinstance(value, list) else []


def _material_type(text: str) -> str:
    described = text.casefold()
    return next((kind for word, kind in _FORMATS if word in described), "book")
