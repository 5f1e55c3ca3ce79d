"""The rooms of the imports know each other one way only."""

import re
from pathlib import Path

import circdesk.catalog.imports

ROOMS = ("reading", "writing", "jobs")
# Their tables, which every room may know, and which know none of them.
TABLES = "models"
IMPORTS = re.compile(r"from circdesk\.catalog\.imports\.(\w+)")


def test_each_room_imports_only_itself_and_those_before_it() -> None:
    top = Path(circdesk.catalog.imports.__file__).parent
    there = {path.name for path in top.iterdir()} - {"__pycache__", "__init__.py"}
    assert there == {*ROOMS, f"{TABLES}.py"}
    assert IMPORTS.findall((top / f"{TABLES}.py").read_text(encoding="utf-8")) == []
    for place, room in enumerate(ROOMS, 1):
        named = {
            other
            for path in (top / room).rglob("*.py")
            for other in IMPORTS.findall(path.read_text(encoding="utf-8"))
        }
        assert named - {TABLES} == {*ROOMS[:place]}
