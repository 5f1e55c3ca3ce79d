"""The columns of Circdesk's CSV: the documentation and the template are made from this."""

from typing import Final

from circdesk.catalog.imports.reading.values import MATERIAL_TYPES

CSV_COLUMNS: Final = {
    "control_number": "Your own number of the record: a second import finds the book by it.",
    "title": "The title; the only column that every file needs and every row must fill.",
    "subtitle": "What follows the title after a colon.",
    "authors": 'Names in the form "Surname, Forename", with semicolons between them.',
    "isbn": "ISBN-10 or ISBN-13, with or without hyphens; semicolons between several.",
    "publisher": "The publisher's name.",
    "year": "The year of publication, four digits.",
    "language": 'The language by ISO 639 code or English name: "eng", "en" or "English".',
    "subjects": "Subject headings, with semicolons between them.",
    "summary": "What the book is about.",
    "material_type": f"One of {', '.join(MATERIAL_TYPES)}; book if empty.",
    "edition": 'The edition as the book names it: "2nd ed."',
    "copies": (
        "Copies as branch|barcode|shelf mark, with semicolons between them; barcode and shelf "
        "mark may be left out."
    ),
}

_EXAMPLE = (
    'b1042,The left hand of darkness,,"Le Guin, Ursula K.",978-0-441-47812-5,Ace,1969,eng,'
    "Science fiction; Gender,An envoy visits a world without fixed sexes.,book,,"
    "main|30001|SF LEG; north|30002"
)


def csv_template() -> str:
    """Return a file with all columns and one row as an example."""
    return ",".join(CSV_COLUMNS) + "\r\n" + _EXAMPLE + "\r\n"
