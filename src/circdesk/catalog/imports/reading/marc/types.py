"""What kind of thing a MARC record describes, in Circdesk's words."""

from circdesk.catalog.imports.reading.marc.fields import MarcRecord, first

# Leader position 6 (MARC 21, "Type of record").
_BY_RECORD_TYPE = {
    "c": "score",
    "d": "score",
    "e": "map",
    "f": "map",
    "g": "video",
    "i": "audiobook",
    "j": "music",
    "k": "other",
    "m": "other",
    "o": "other",
    "p": "other",
    "r": "other",
}
# Koha's item types, as far as its installer brings them along, and the codes that libraries use
# for the same things.
_BY_ITEM_CODE = {
    "bk": "book",
    "book": "book",
    "ebook": "ebook",
    "eb": "ebook",
    "audiobook": "audiobook",
    "cd": "music",
    "mu": "music",
    "music": "music",
    "dvd": "video",
    "vm": "video",
    "video": "video",
    "cr": "periodical",
    "periodical": "periodical",
    "journal": "periodical",
    "mp": "map",
    "map": "map",
    "score": "score",
    "game": "game",
    "other": "other",
}


def material_type_of(record: MarcRecord) -> str:
    """Return the material type by leader, fixed fields and carrier; a book if they are silent."""
    kind = record.leader[6:7]
    if kind in ("a", "t"):
        return _text_type(record)
    if kind in ("m", "r") and _is_game(kind, record.control("008")):
        return "game"
    return _BY_RECORD_TYPE.get(kind, "book")


def item_type_of(code: str) -> str | None:
    """Return the material type that an item's own code stands for; None leaves it to the book."""
    return _BY_ITEM_CODE.get(code.strip().casefold())


def _text_type(record: MarcRecord) -> str:
    if record.leader[7:8] in ("b", "i", "s"):
        return "periodical"
    return "ebook" if _is_online(record) else "book"


def _is_online(record: MarcRecord) -> bool:
    """Tell by form of item (008/23), carrier (338), description (007) or the old 245 $h.

    A link in 856 proves nothing: printed books have links to their tables of contents.
    """
    if record.control("008")[23:24] in ("o", "q", "s") or "cr" in record.values("338", "b"):
        return True
    described = {field[:1] for field in record.fields.get("007", ())}
    if described == {"c"}:
        return True
    medium = " ".join(first(field, "h") for field in record.fields.get("245", ()))
    return "electronic resource" in medium.casefold()


def _is_game(kind: str, fixed: str) -> bool:
    """Read the type of computer file (008/26) or of visual material (008/33)."""
    return (fixed[26:27] if kind == "m" else fixed[33:34]) == "g"
