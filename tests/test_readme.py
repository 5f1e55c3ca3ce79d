"""The README tells the truth where a machine can check it."""

import re
from pathlib import Path

from circdesk.catalog.imports.reading.csv_columns import CSV_COLUMNS, csv_template
from circdesk.settings import settings_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_is_the_one_of_the_code() -> None:
    table = README.partition("<!-- settings:")[2].partition("-->\n")[2].partition("<!--")[0]
    assert table.strip() == settings_table().strip()


def test_every_path_of_the_layout_exists() -> None:
    layout = README.partition("## Layout")[2].split("```")[1]
    inside = [
        ROOT / "src/circdesk" / line.split()[0] for line in layout.splitlines() if line[:2] == "  "
    ]
    top = [ROOT / line.split()[0] for line in layout.splitlines() if line and line[0] != " "]
    assert len(inside) > 8
    assert [path for path in [*inside, *top] if not path.exists()] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", README)) <= targets


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_columns_of_csv_files_are_those_of_the_code() -> None:
    page = (ROOT / "docs/imports.md").read_text(encoding="utf-8")
    for name, meaning in CSV_COLUMNS.items():
        escaped = meaning.replace("|", "\\|")
        assert f"| `{name}` | {escaped} |" in page
    assert "".join(csv_template().split("\r")) in page
