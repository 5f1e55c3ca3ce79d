from pathlib import Path

import pytest

from circdesk import resources


class TestDirectory:
    def test_a_checkout_has_it_at_its_root(self) -> None:
        root = Path(__file__).parents[1]

        assert resources.directory("openapi") == root / "openapi"
        assert resources.directory("alembic") == root / "alembic"

    def test_a_wheel_has_it_in_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "site-packages" / "circdesk"
        (package / "_alembic").mkdir(parents=True)
        monkeypatch.setattr(resources, "_PACKAGE", package)

        assert resources.directory("alembic") == package / "_alembic"

    def test_an_incomplete_installation_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "lib" / "circdesk")

        with pytest.raises(FileNotFoundError, match="'openapi' is missing"):
            resources.directory("openapi")
