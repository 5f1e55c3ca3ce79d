"""The release, by which tags of one are none of another's."""

from pathlib import Path

import pytest

from circdesk.edge import release
from circdesk.edge.release import hash_files, release_of
from circdesk.settings import Settings


def write(directory: Path, **files: str) -> list[Path]:
    """Files in a new directory."""
    directory.mkdir()
    paths = [directory / name for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    return paths


class TestFiles:
    def test_the_same_files_elsewhere_and_in_another_order_are_the_same(
        self, tmp_path: Path
    ) -> None:
        here = write(tmp_path / "here", a="1", b="2")
        there = write(tmp_path / "there", b="2", a="1")
        assert hash_files({"code": here}) == hash_files({"code": there})

    def test_whatever_else_differs_is_another_release(self, tmp_path: Path) -> None:
        first = write(tmp_path / "first", a="1", b="2")
        other, renamed, swapped = (
            write(tmp_path / "other", a="1", b="3"),
            write(tmp_path / "renamed", a="1", c="2"),
            write(tmp_path / "swapped", a="2", b="1"),
        )
        kinds = [
            {"code": first},
            {"contract": first},
            {"code": first[:1]},
            {"code": [*first, *other]},
        ]
        kinds += [{"code": files} for files in (other, renamed, swapped)]
        assert len({hash_files(each) for each in kinds}) == len(kinds)


def test_it_is_this_code_and_contract_with_the_currency_of_amounts(settings: Settings) -> None:
    assert release_of(settings) == release_of(settings)
    other = settings.model_copy(update={"currency": "CHF"})
    assert release_of(other) != release_of(settings)
    moved = settings.model_copy(update={"public_url": "https://library.example"})
    assert release_of(moved) == release_of(settings)


def test_what_is_kept_beside_the_contract_is_no_part_of_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = tmp_path / "contract"
    write(contract, **{"openapi.yaml": "openapi: 3.1.0"})
    monkeypatch.setattr(release, "directory", lambda _name: contract)
    before = release_of(settings)
    write(contract / "__pycache__", **{"bundle.json": "{}"})

    assert release_of(settings) == before
    write(contract / "paths", **{"books.yaml": "{}"})
    assert release_of(settings) != before
