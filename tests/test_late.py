"""What a start does not load, and the stand-ins by which libraries get along without it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from circdesk.late import later, without

# Each took a part of the start and some of the memory for what a service in production without a
# Redis never does; some more stand below them.
UNUSED = {
    "alembic", "charset_normalizer", "cryptography.x509", "httpx", "huey", "limits.aio",
    "openapi_spec_validator", "opentelemetry", "pygments", "pymarc", "redis", "requests", "rich",
    "starlette.testclient", "urllib3", "watchfiles", "zxcvbn",
}  # fmt: skip
# All that `circdesk serve` loads, up to where it would listen.
START = """
import sys
import circdesk.cli
from circdesk.commands.serve import Server, create_app, load_settings
create_app(load_settings())
print(*sys.modules)
"""


def loaded_by_start(place: Path, **variables: str) -> set[str]:
    settings = {
        "CIRCDESK_ENV": "production",
        "CIRCDESK_PUBLIC_URL": "https://library.example",
        "CIRCDESK_SECRET_KEY": "x" * 40,
        "CIRCDESK_ENCRYPTION_KEY": "y" * 40,
        "CIRCDESK_INSTANCE": str(place),
        "DATABASE_URL": f"sqlite:///{place / 'library.db'}",
    }
    ran = subprocess.run(
        [sys.executable, "-c", START],
        env={**os.environ, **settings, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ran.stdout.split())


class TestStart:
    def test_what_a_service_without_redis_never_uses_is_not_loaded(self, tmp_path: Path) -> None:
        assert loaded_by_start(tmp_path) & UNUSED == set()

    def test_who_has_a_redis_loads_its_library_before_the_first_request(
        self, tmp_path: Path
    ) -> None:
        # Nobody listens there, which no start minds.
        assert "redis" in loaded_by_start(tmp_path, REDIS_URL="redis://127.0.0.1:1/0")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that nobody has imported, with another one below it."""
    name = "library_of_test_late"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("def add(a, *, to):\n    return a + to\n")
    (tmp_path / name / "inner.py").write_text("def name():\n    return __name__\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for each in (name, f"{name}.inner"):
        sys.modules.pop(each, None)


class TestLater:
    def test_a_stand_in_imports_the_module_when_it_is_called(self, library: str) -> None:
        with later(library):
            stand_in = import_module(library)
        assert library not in sys.modules
        assert stand_in.add(1, to=2) == 3
        assert isinstance(sys.modules[library], ModuleType)
        assert sys.modules[library] is not stand_in

    def test_so_does_a_name_that_was_imported_from_it(self, library: str) -> None:
        with later(f"{library}.inner"):
            names: dict[str, object] = {}
            exec(f"from {library}.inner import name", names)
        assert f"{library}.inner" not in sys.modules
        assert names["name"]() == f"{library}.inner"  # type: ignore[operator]

    def test_a_module_that_is_there_stays(self, library: str) -> None:
        module = import_module(library)
        with later(library):
            assert import_module(library) is module
        assert import_module(library) is module

    def test_an_error_in_the_block_leaves_no_stand_in_behind(self, library: str) -> None:
        with pytest.raises(ZeroDivisionError), later(library):
            raise ZeroDivisionError
        assert import_module(library).add(1, to=1) == 2


def test_what_can_do_without_a_module_does_not_find_it(library: str) -> None:
    with without(library), pytest.raises(ImportError):
        import_module(library)
    assert import_module(library).add(1, to=1) == 2
