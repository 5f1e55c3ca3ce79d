"""Where settings come from besides the environment: files of secrets, and the instance."""

import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

_MADE_SECRETS = ("secret_key", "encryption_key")


class SettingsError(Exception):
    """A setting is wrong; the message is one line that names its variable."""


class _Source(PydanticBaseSettingsSource):
    """A source that answers all of its values at once."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Pydantic asks for each field where `__call__` is not written; here it is."""
        raise NotImplementedError

    def _is_given(self, name: str) -> bool:
        # The earlier sources name a field or its variable, whichever they read.
        return any(name == key.lower() for key in self.current_state)


class FileSource(_Source):
    """Secrets from the files that `<VARIABLE>_FILE` names, as container platforms mount them.

    Args:
        settings_cls: The settings that are read.
        secrets: The variable of each secret, by its field.
        variables: The environment, its names in lower case.

    Raises `SettingsError` for a file that cannot be read, and where both the variable and its
    file are set, since nobody could say which of the two is meant.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        secrets: Mapping[str, str],
        variables: Mapping[str, str | None],
    ) -> None:
        super().__init__(settings_cls)
        self._secrets = secrets
        self._variables = variables

    def __call__(self) -> dict[str, Any]:
        """The secrets that stand in files, by field."""
        values = {}
        for name, variable in self._secrets.items():
            path = self._variables.get(f"{variable}_FILE".lower())
            if path:
                values[name] = self._read(variable, Path(path))
        return values

    def _read(self, variable: str, path: Path) -> str:
        if self._variables.get(variable.lower()):
            raise SettingsError(f"{variable} and {variable}_FILE are both set; keep one of them")
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SettingsError(f"{variable}_FILE: cannot read {path}: {reason}") from None


class InstanceSource(_Source):
    """What development and sandbox need not be told: a SQLite database, and secrets of their own.

    The secrets are made at the first start and kept in `secrets.json` in the instance directory,
    readable by its owner alone.
    """

    def __call__(self) -> dict[str, Any]:
        """The values that are missing so far, or nothing in staging and production."""
        if self.current_state.get("env", "development") not in ("development", "sandbox"):
            return {}
        instance = Path(self.current_state.get("instance", "instance")).absolute()
        values: dict[str, Any] = {}
        if not self._is_given("database_url"):
            values["database_url"] = f"sqlite:///{instance / 'circdesk.db'}"
        if not all(map(self._is_given, _MADE_SECRETS)):
            values |= _kept_secrets(instance / "secrets.json")
        return values


def _kept_secrets(path: Path) -> dict[str, str]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = _read_secrets(path)
        if not kept.keys() >= set(_MADE_SECRETS):
            kept = _keep_new_secrets(path)
    except (OSError, ValueError) as error:
        raise SettingsError(f"CIRCDESK_INSTANCE: cannot keep secrets in {path}: {error}") from None
    return {name: kept[name] for name in _MADE_SECRETS}


def _read_secrets(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - it is the file that is wrong.
    return content


def _keep_new_secrets(path: Path) -> dict[str, str]:
    """Add the secrets that the file lacks; of two processes one makes them, the other reads."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        # It is held for as long as a small file takes to write, and ends with the process.
        fcntl.flock(directory, fcntl.LOCK_EX)
        kept = {name: secrets.token_urlsafe(32) for name in _MADE_SECRETS} | _read_secrets(path)
        write_private(path, kept)
    finally:
        os.close(directory)
    return kept


def write_private(path: Path, content: object) -> None:
    """Write JSON that only the owner can read; nobody ever sees half of it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
