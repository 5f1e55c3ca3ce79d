import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from circdesk.settings import (
    MissingSettingError,
    Settings,
    SettingsError,
    load_settings,
    settings_table,
    variable,
)

KEY = "0123456789abcdef0123456789abcdef"
SHOW_SECRETS = """
import json
from circdesk.settings import load_settings
settings = load_settings()
names = ("secret_key", "encryption_key")
print(json.dumps({name: getattr(settings, name).get_secret_value() for name in names}))
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def keep(directory: Path, content: str) -> Path:
    """The secrets of an earlier start."""
    path = directory / "instance" / "secrets.json"
    path.parent.mkdir()
    path.write_text(content, errors="surrogateescape")
    return path


class TestDevelopment:
    def test_nothing_needs_to_be_set(self, directory: Path) -> None:
        settings = load_settings()

        assert settings.env == "development"
        assert settings.instance == directory / "instance"
        assert settings.uploads == directory / "instance" / "uploads"
        assert settings.log_format == "console"
        assert settings.public_url == "http://127.0.0.1:8000"
        expected = f"sqlite:///{directory}/instance/circdesk.db"
        assert settings.database_url.get_secret_value() == expected

    def test_whether_an_address_was_given_can_be_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "public_url" not in load_settings().model_fields_set
        monkeypatch.setenv("CIRCDESK_PUBLIC_URL", "http://127.0.0.1:8000")

        assert "public_url" in load_settings().model_fields_set

    def test_secrets_are_made_once_and_only_their_owner_can_read_them(
        self, directory: Path
    ) -> None:
        first, second = load_settings(), load_settings()

        kept = directory / "instance" / "secrets.json"
        assert first == second
        assert first.secret_key != first.encryption_key
        assert (
            json.loads(kept.read_text())["encryption_key"]
            == first.encryption_key.get_secret_value()
        )
        assert kept.stat().st_mode & 0o777 == 0o600
        assert kept.parent.stat().st_mode & 0o777 == 0o700
        assert list(kept.parent.iterdir()) == [kept]

    @pytest.mark.parametrize("kept", [None, {"secret_key": KEY}, {"encryption_key": KEY}])
    def test_processes_that_start_at_once_agree_on_the_secrets(
        self, directory: Path, kept: dict[str, str] | None
    ) -> None:
        if kept is not None:
            keep(directory, json.dumps(kept))
        command = [sys.executable, "-c", SHOW_SECRETS]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
        shown = {process.communicate(timeout=60)[0] for process in processes}

        (secrets,) = map(json.loads, shown)
        assert all(len(secret) >= 32 for secret in secrets.values())
        assert secrets == secrets | (kept or {})

    def test_dotenv_is_read_and_the_environment_wins(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (directory / ".env").write_text("CIRCDESK_THREADS=3\nCIRCDESK_LOG_LEVEL=debug\n")
        monkeypatch.setenv("CIRCDESK_THREADS", "5")

        settings = load_settings()

        assert (settings.threads, settings.log_level) == (5, "debug")

    @pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
    def test_a_damaged_secrets_file_is_named_and_stays(self, directory: Path, content: str) -> None:
        kept = keep(directory, content)
        before = kept.read_bytes()

        with pytest.raises(SettingsError, match=r"^CIRCDESK_INSTANCE: .*secrets\.json"):
            load_settings()
        assert kept.read_bytes() == before

    def test_what_an_older_file_lacks_is_added(self, directory: Path) -> None:
        kept = keep(directory, json.dumps({"secret_key": KEY, "admin_key": "of old"}))

        first, second = load_settings(), load_settings()

        assert first == second
        assert first.secret_key.get_secret_value() == KEY
        encryption_key = first.encryption_key.get_secret_value()
        assert json.loads(kept.read_text()) == {
            "secret_key": KEY,
            "encryption_key": encryption_key,
            "admin_key": "of old",
        }
        assert list(kept.parent.iterdir()) == [kept]
        assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("env", ["staging", "production"])
class TestProduction:
    @pytest.fixture(autouse=True)
    def environment(self, env: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CIRCDESK_ENV", env)
        monkeypatch.setenv("DATABASE_URL", "postgresql://circdesk:hush@db/circdesk")
        monkeypatch.setenv("CIRCDESK_PUBLIC_URL", "https://library.example")
        monkeypatch.setenv("CIRCDESK_SECRET_KEY", KEY)
        monkeypatch.setenv("CIRCDESK_ENCRYPTION_KEY", KEY)

    def test_all_that_must_be_set_is_enough_and_nothing_is_made(
        self, env: str, directory: Path
    ) -> None:
        settings = load_settings()

        assert (settings.env, settings.log_format) == (env, "json")
        assert list(directory.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "named"),
        [
            ("DATABASE_URL", "DATABASE_URL (or DATABASE_URL_FILE)"),
            ("CIRCDESK_PUBLIC_URL", "CIRCDESK_PUBLIC_URL"),
            ("CIRCDESK_SECRET_KEY", "CIRCDESK_SECRET_KEY (or CIRCDESK_SECRET_KEY_FILE)"),
            (
                "CIRCDESK_ENCRYPTION_KEY",
                "CIRCDESK_ENCRYPTION_KEY (or CIRCDESK_ENCRYPTION_KEY_FILE)",
            ),
        ],
    )
    @pytest.mark.parametrize("value", [None, ""])
    def test_what_is_missing_is_named_in_one_line(
        self, name: str, named: str, value: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)

        with pytest.raises(MissingSettingError) as caught:
            load_settings()

        assert str(caught.value) == f"{named} must be set in this environment"

    def test_dotenv_is_not_read(self, directory: Path) -> None:
        (directory / ".env").write_text("CIRCDESK_THREADS=3\n")

        assert load_settings().threads == 16

    def test_secrets_may_stand_in_files(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("DATABASE_URL", "CIRCDESK_SECRET_KEY"):
            monkeypatch.delenv(name)
            monkeypatch.setenv(f"{name}_FILE", str(directory / name))
        (directory / "DATABASE_URL").write_text("postgres://db/circdesk\n")
        (directory / "CIRCDESK_SECRET_KEY").write_text(f"{KEY}from-a-file\n")

        settings = load_settings()

        assert settings.secret_key.get_secret_value() == f"{KEY}from-a-file"
        assert settings.database_url.get_secret_value() == "postgresql+psycopg://db/circdesk"

    def test_a_secret_that_is_set_twice_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CIRCDESK_ENCRYPTION_KEY_FILE", "somewhere")

        with pytest.raises(
            SettingsError, match=r"^CIRCDESK_ENCRYPTION_KEY and .*_FILE are both set"
        ):
            load_settings()

    @pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff", "not text")])
    def test_a_file_that_cannot_be_read_is_named(
        self,
        content: bytes | None,
        reason: str,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("CIRCDESK_ENCRYPTION_KEY")
        monkeypatch.setenv("CIRCDESK_ENCRYPTION_KEY_FILE", str(directory / "key"))
        if content is not None:
            (directory / "key").write_bytes(content)

        with pytest.raises(SettingsError, match=f"^CIRCDESK_ENCRYPTION_KEY_FILE: .*{reason}"):
            load_settings()


class TestValues:
    @pytest.mark.parametrize(
        ("given", "normalised"),
        [
            ("postgres://u:p@db/c", "postgresql+psycopg://u:p@db/c"),
            ("postgresql://u:p@db/c", "postgresql+psycopg://u:p@db/c"),
            ("postgresql+psycopg://u:p@db/c", "postgresql+psycopg://u:p@db/c"),
            ("sqlite:///c.db", "sqlite:///c.db"),
        ],
    )
    def test_database_urls_name_the_driver(
        self, given: str, normalised: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", given)

        assert load_settings().database_url.get_secret_value() == normalised

    def test_a_replica_stands_beside_a_postgresql(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert load_settings().database_replica_url is None
        monkeypatch.setenv("DATABASE_URL", "postgres://primary/c")
        monkeypatch.setenv("DATABASE_REPLICA_URL", "postgres://replica/c")

        url = load_settings().database_replica_url
        assert url is not None
        assert url.get_secret_value() == "postgresql+psycopg://replica/c"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("CIRCDESK_ENV", "prod"),
            ("CIRCDESK_THREADS", "0"),
            ("CIRCDESK_THREADS", "many"),
            ("CIRCDESK_SECRET_KEY", "hush-too-short"),
            ("CIRCDESK_PUBLIC_URL", "library.example"),
            ("CIRCDESK_LOG_LEVEL", "LOUD"),
            ("CIRCDESK_CORS_ORIGINS", "*"),
            ("CIRCDESK_CORS_ORIGINS", "library.example"),
            ("CIRCDESK_CORS_ORIGINS", "https://library.example/"),
            ("CIRCDESK_CORS_ORIGINS", "https://a.example,https://*.b.example"),
            ("CIRCDESK_PROXY_HOPS", "-1"),
            ("CIRCDESK_RATE_LIMITS", "none"),
            ("CIRCDESK_RATE_LIMITS", "staff=0/minute"),
            ("CIRCDESK_RATE_LIMITS", "staff=9/day"),
            ("DATABASE_URL", "mysql://user:hush@db/c"),
            ("DATABASE_URL", "hush"),
            ("DATABASE_REPLICA_URL", "sqlite:///hush.db"),
            # In development the database is SQLite.
            ("DATABASE_REPLICA_URL", "postgresql://user:hush@replica/c"),
        ],
    )
    def test_a_bad_value_is_refused_in_one_line_that_shows_no_secret(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)

        with pytest.raises(SettingsError) as caught:
            load_settings()

        message = str(caught.value)
        assert message.startswith(f"{name}: ")
        assert "\n" not in message
        assert "hush" not in message

    @pytest.mark.parametrize(
        "name", ["CIRCDESK_TREADS", "CIRCDESK_THREADS_FILE", "CIRCDESK_DATABASE_URL"]
    )
    def test_a_variable_that_is_no_setting_is_refused(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, "1")

        with pytest.raises(SettingsError, match=f"^{name} is not a setting of Circdesk$"):
            load_settings()

    def test_a_variable_in_dotenv_that_is_no_setting_is_refused(self, directory: Path) -> None:
        (directory / ".env").write_text("CIRCDESK_TREADS=3\n")

        with pytest.raises(SettingsError, match=r"^CIRCDESK_TREADS is not a setting"):
            load_settings()

    def test_the_public_url_ends_without_a_slash(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CIRCDESK_PUBLIC_URL", "https://library.example/desk/")

        assert load_settings().public_url == "https://library.example/desk"

    @pytest.mark.parametrize(
        ("given", "origins"),
        [
            ("", ()),
            ("https://a.example", ("https://a.example",)),
            ("https://a.example, http://[::1]:80", ("https://a.example", "http://[::1]:80")),
        ],
    )
    def test_origins_are_separated_by_commas(
        self, given: str, origins: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CIRCDESK_CORS_ORIGINS", given)

        assert load_settings().allowed_origins == origins

    def test_secrets_never_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://circdesk:hush@db/circdesk")
        monkeypatch.setenv("REDIS_URL", "redis://:hush@cache")
        monkeypatch.setenv("CIRCDESK_SECRET_KEY", f"hush{KEY}")
        monkeypatch.setenv("CIRCDESK_ENCRYPTION_KEY", f"hush{KEY}")

        settings = load_settings()

        assert "hush" not in f"{settings!r} {settings} {settings.model_dump()}"

    def test_settings_cannot_be_changed(self) -> None:
        settings = load_settings()

        with pytest.raises(ValidationError, match="frozen"):
            settings.threads = 2


class TestTable:
    def test_it_explains_every_setting(self) -> None:
        table = settings_table()

        assert all(f"| `{variable(name)}` |" in table for name in Settings.model_fields)
        assert (
            "| `CIRCDESK_LOG_LEVEL` | `info` | The least severe level that is logged. |\n"
        ) in table
        assert "| `CIRCDESK_SELF_REGISTRATION` | `False` | " in table
        assert "| `CIRCDESK_PUBLIC_URL` |  | " in table
        assert "Or `DATABASE_URL_FILE`. |" in table

    def test_every_row_has_three_cells(self) -> None:
        assert {line.count("|") for line in settings_table().splitlines()} == {4}


class TestAllAtOnce:
    def test_every_missing_setting_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CIRCDESK_ENV", "production")

        with pytest.raises(MissingSettingError) as caught:
            load_settings()

        assert str(caught.value) == (
            "DATABASE_URL (or DATABASE_URL_FILE), CIRCDESK_PUBLIC_URL, "
            "CIRCDESK_SECRET_KEY (or CIRCDESK_SECRET_KEY_FILE), "
            "CIRCDESK_ENCRYPTION_KEY (or CIRCDESK_ENCRYPTION_KEY_FILE) "
            "must be set in this environment"
        )

    def test_every_wrong_setting_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_URL", "http://hush")
        monkeypatch.setenv("CIRCDESK_ENCRYPTION_KEY", "hush")

        with pytest.raises(SettingsError) as caught:
            load_settings()

        assert str(caught.value) == (
            "REDIS_URL: must begin with redis:// or rediss://; "
            "CIRCDESK_ENCRYPTION_KEY: must have at least 32 characters"
        )
