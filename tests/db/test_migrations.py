import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Engine, inspect, text

from circdesk.db import migrations
from circdesk.db.engine import READING, make_engine
from circdesk.db.errors import DatabaseBusy, DatabaseUnavailable
from circdesk.db.migrations import at_head, head, migrating, upgrade
from circdesk.settings import Settings

# What only PostgreSQL does is tested there alone.
on_postgresql = pytest.mark.parametrize(
    "database_url", ["postgresql"], indirect=True, scope="session"
)
# PostgreSQL checks references by itself.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

ROOT = Path(__file__).parents[2]
UPGRADE = """
from circdesk.db.engine import READING, make_engine
from circdesk.db.migrations import upgrade
from circdesk.settings import load_settings

upgrade(make_engine(load_settings()))
"""


@pytest.fixture
def empty_settings(settings: Settings, engine: Engine, tmp_path: Path) -> Iterator[Settings]:
    """Settings for a database without any table, on the same server."""
    if engine.dialect.name == "sqlite":
        yield with_url(settings, f"sqlite:///{tmp_path / 'empty.db'}")
        return
    server = engine.execution_options(**{READING: True})
    database = f"{engine.url.database}_empty"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {database}"))
        url = engine.url.set(database=database)
        yield with_url(settings, url.render_as_string(hide_password=False))
        connection.execute(text(f"DROP DATABASE {database} WITH (FORCE)"))


def with_url(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"database_url": SecretStr(url)})


@pytest.fixture
def empty_engine(empty_settings: Settings) -> Iterator[Engine]:
    engine = make_engine(empty_settings)
    yield engine
    engine.dispose()


def is_at_head(engine: Engine) -> bool:
    with engine.connect() as connection:
        return at_head(connection)


def run(engine: Engine, deed: Callable[..., object], *arguments: object) -> None:
    """Run one of Alembic's commands as `alembic` would."""
    with migrating(engine) as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        deed(config, *arguments)


class TestUpgrade:
    def test_an_empty_database_is_brought_to_the_head(self, empty_engine: Engine) -> None:
        assert not is_at_head(empty_engine)

        upgrade(empty_engine)

        assert is_at_head(empty_engine)
        assert "posts" in inspect(empty_engine).get_table_names()

    def test_a_second_time_changes_nothing(self, engine: Engine) -> None:
        upgrade(engine)

        assert is_at_head(engine)

    def test_processes_that_migrate_at_once_wait_for_each_other(
        self, empty_settings: Settings, empty_engine: Engine, tmp_path: Path
    ) -> None:
        environment = os.environ | {
            "CIRCDESK_INSTANCE": str(tmp_path),
            "DATABASE_URL": empty_settings.database_url.get_secret_value(),
        }
        processes = [
            subprocess.Popen([sys.executable, "-c", UPGRADE], env=environment) for _ in range(3)
        ]

        assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
        assert is_at_head(empty_engine)

    def test_the_command_line_takes_the_database_from_the_settings(
        self, empty_settings: Settings, empty_engine: Engine, tmp_path: Path
    ) -> None:
        environment = os.environ | {
            "CIRCDESK_INSTANCE": str(tmp_path),
            "DATABASE_URL": empty_settings.database_url.get_secret_value(),
        }
        alembic = [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini")]

        subprocess.run([*alembic, "upgrade", "head"], env=environment, check=True, timeout=60)

        assert is_at_head(empty_engine)

    def test_the_command_line_writes_no_scripts(self, tmp_path: Path) -> None:
        environment = os.environ | {"CIRCDESK_INSTANCE": str(tmp_path)}
        alembic = [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini")]

        refused = subprocess.run(
            [*alembic, "upgrade", "head", "--sql"],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert refused.returncode == 1
        assert "--sql cannot be used" in refused.stderr

    def test_a_failure_changes_nothing(
        self, empty_engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upgrade_for_good = command.upgrade

        def upgrade_and_fail(config: Config, revision: str) -> None:
            upgrade_for_good(config, revision)
            raise ZeroDivisionError

        monkeypatch.setattr(command, "upgrade", upgrade_and_fail)

        with pytest.raises(ZeroDivisionError):
            upgrade(empty_engine)

        assert inspect(empty_engine).get_table_names() == []

    def test_an_outage_is_one(self, settings: Settings, tmp_path: Path) -> None:
        with pytest.raises(DatabaseUnavailable):
            upgrade(make_engine(with_url(settings, f"sqlite:///{tmp_path}")))

    def test_another_migration_that_takes_too_long_is_busy(
        self, empty_engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrations, "_WAIT_FOR_OTHERS_SECONDS", 1)

        with migrating(empty_engine), pytest.raises(DatabaseBusy):
            upgrade(empty_engine)


class TestDowngrade:
    def test_every_step_leads_back(self, empty_engine: Engine) -> None:
        upgrade(empty_engine)

        run(empty_engine, command.downgrade, "base")

        assert inspect(empty_engine).get_table_names() == ["alembic_version"]


class TestModels:
    def test_migrations_make_what_the_models_say(self, engine: Engine) -> None:
        run(engine, command.check)

    def test_a_difference_would_be_found(self, engine: Engine) -> None:
        with engine.begin() as connection:
            connection.execute(text("DROP INDEX ix_posts_author"))

        with pytest.raises(Exception, match=r"New upgrade operations detected.*ix_posts_author"):
            run(engine, command.check)

        with engine.begin() as connection:
            # An older connection of the pool may not know yet that it is gone; with IF NOT EXISTS
            # SQLite looks again.
            connection.execute(text("CREATE INDEX IF NOT EXISTS ix_posts_author ON posts (author)"))


class TestMigrating:
    @on_sqlite
    def test_references_that_a_migration_breaks_stop_it(self, engine: Engine) -> None:
        dangling = text("INSERT INTO post_tags (post_id, name, position) VALUES ('0', 'a', 0)")

        def migrate() -> None:
            with migrating(engine) as connection:
                connection.execute(dangling)

        with pytest.raises(RuntimeError, match="the migration broke references"):
            migrate()

        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM post_tags")) == 0
            assert connection.scalar(text("PRAGMA foreign_keys")) == 1


class TestAtHead:
    def test_the_head_is_the_one_that_alembic_finds(self) -> None:
        scripts = ScriptDirectory.from_config(migrations._config())

        assert scripts.get_heads() == [head()]

    def test_it_costs_one_statement(self, engine: Engine, count_queries: Any) -> None:
        head()

        with engine.connect() as connection, count_queries() as statements:
            at_head(connection)

        assert len(statements) == 1

    def test_an_older_database_is_not(self, empty_engine: Engine) -> None:
        upgrade(empty_engine)
        with empty_engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))

        assert not is_at_head(empty_engine)

    @on_postgresql
    def test_an_outage_is_no_answer(self, engine: Engine) -> None:
        with engine.connect() as connection, engine.connect() as other:
            server = connection.scalar(text("SELECT pg_backend_pid()"))
            other.execute(text(f"SELECT pg_terminate_backend({server}, 5000)"))

            with pytest.raises(DatabaseUnavailable):
                at_head(connection)
