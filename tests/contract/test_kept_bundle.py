"""The bundle beside its files: read where it is theirs, and made anew where it is not."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from circdesk.contract.contract import load_contract
from circdesk.contract.documents import Bundle, ContractError, load_bundle
from circdesk.contract.kept_bundle import kept_bundle
from circdesk.resources import directory

FILES = {
    "openapi.yaml": """
        openapi: 3.0.3
        info: {title: A title, version: "1"}
        paths:
          /posts: {$ref: paths/posts.yaml#/posts}
        """,
    "paths/posts.yaml": """
        posts:
          get: {operationId: list_posts, tags: [news], responses: {"200": {description: Posts.}}}
        """,
}


@pytest.fixture(autouse=True)
def _may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


@pytest.fixture
def root(write_contract: Callable[[Mapping[str, str]], Path]) -> Path:
    """A contract of two files, bundled once."""
    root = write_contract(FILES)
    kept_bundle(root)
    return root


def kept(root: Path) -> Path:
    return root / "__pycache__" / "bundle.json"


def title(bundle: Bundle) -> str:
    found: str = bundle.document["info"]["title"]
    return found


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


class TestKeptBundle:
    def test_it_is_what_would_be_made_in_the_same_order(self) -> None:
        made = load_bundle(directory("openapi"))
        for _ in range(2):
            assert json.dumps(kept_bundle(directory("openapi"))) == json.dumps(made)

    def test_it_is_read_where_no_file_has_changed(self, root: Path) -> None:
        rewrite(kept(root), "A title", "A title that was kept")
        assert title(kept_bundle(root)) == "A title that was kept"

    def test_a_file_that_has_changed_makes_it_anew(self, root: Path) -> None:
        rewrite(root / "openapi.yaml", "A title", "Another")
        for _ in range(2):
            assert title(kept_bundle(root)) == "Another"

    def test_so_does_one_that_was_added(self, root: Path) -> None:
        rewrite(kept(root), "A title", "A title that was kept")
        (root / "components").mkdir()
        (root / "components" / "schemas.yaml").write_text("Post: {type: object}\n")
        assert kept_bundle(root) == load_bundle(root)

    def test_so_does_one_that_is_gone(self, root: Path) -> None:
        (root / "paths" / "posts.yaml").unlink()
        with pytest.raises(ContractError, match="leads nowhere"):
            kept_bundle(root)

    def test_so_does_other_code(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rewrite(kept(root), "A title", "A title that was kept")
        monkeypatch.setattr("circdesk.contract.kept_bundle.__file__", str(root / "other.py"))
        assert title(kept_bundle(root)) == "A title"

    @pytest.mark.parametrize("content", ["", "not one", "\n{}"])
    def test_a_damaged_one_is_made_anew(self, root: Path, content: str) -> None:
        whole = kept(root).read_text()
        kept(root).write_text(content)
        assert title(kept_bundle(root)) == "A title"
        assert kept(root).read_text() == whole

    def test_one_that_was_cut_off_is_made_anew(self, root: Path) -> None:
        whole = kept(root).read_text()
        kept(root).write_text(whole[:-20])
        assert kept_bundle(root) == load_bundle(root)

    def test_where_nothing_may_be_written_each_start_makes_its_own(
        self, write_contract: Callable[[Mapping[str, str]], Path]
    ) -> None:
        root = write_contract({**FILES, "__pycache__": ""})
        for _ in range(2):
            assert title(kept_bundle(root)) == "A title"
        assert kept(root).parent.is_file()

    def test_who_wants_no_bytecode_wants_no_bundle(
        self,
        write_contract: Callable[[Mapping[str, str]], Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        root = write_contract(FILES)
        assert title(kept_bundle(root)) == "A title"
        assert not kept(root).exists()

    def test_nothing_else_is_left_behind(self, root: Path) -> None:
        assert [*kept(root).parent.iterdir()] == [kept(root)]

    def test_a_start_refuses_what_was_broken_since(self, root: Path) -> None:
        rewrite(root / "paths" / "posts.yaml", "tags: [news], ", "")
        with pytest.raises(ContractError, match="there is no tag"):
            load_contract(root)
