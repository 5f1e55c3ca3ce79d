"""The kinds of values that settings have, how they are read, and defaults that depend on others."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

# Platforms hand out several names for one thing; the driver is psycopg 3 in every case.
_DATABASE_SCHEMES = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "sqlite": "sqlite",
}

# At most an hour, which is what Retry-After may say.
RATE_LIMIT = r"([a-z_]+=)?[1-9][0-9]{0,8}/(second|minute|hour)"

LogFormat = Literal["json", "console"]
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
Key = Annotated[SecretStr, Field(min_length=32, max_length=1024)]


def with_driver(url: SecretStr) -> SecretStr:
    """A URL of a database with the driver that we use. Raises ValueError."""
    scheme, separator, rest = url.get_secret_value().partition("://")
    if not separator or scheme not in _DATABASE_SCHEMES:
        raise ValueError("must begin with postgresql:// or sqlite:///")
    return SecretStr(f"{_DATABASE_SCHEMES[scheme]}://{rest}")


def checked_replica_url(url: SecretStr | None) -> SecretStr | None:
    """The URL of a replica, if there is one. Raises ValueError."""
    if url is None:
        return None
    url = with_driver(url)
    if not url.get_secret_value().startswith("postgresql"):
        raise ValueError("must begin with postgresql://")
    return url


def checked_redis_url(url: SecretStr | None) -> SecretStr | None:
    """The URL of a Redis, if there is one. Raises ValueError."""
    if url is not None and not url.get_secret_value().startswith(("redis://", "rediss://")):
        raise ValueError("must begin with redis:// or rediss://")
    return url


def checked_smtp_url(url: SecretStr | None) -> SecretStr | None:
    """The URL of a mail server, if there is one. Raises ValueError."""
    if url is not None and not re.match(r"smtps?://[^\s/?#]+/?$", url.get_secret_value()):
        raise ValueError("must be smtp://… or smtps://…")
    return url


def without_slash(url: str) -> str:
    """A URL to which paths can be added."""
    return url.rstrip("/")


def uploads_of(values: dict[str, Any]) -> Path:
    """Where uploads lie by default."""
    # Pydantic calls this although the instance itself was refused; that error is the one to show.
    return Path(values.get("instance", "instance")) / "uploads"


def log_format_of(values: dict[str, Any]) -> LogFormat:
    """The form of log lines by default."""
    return "console" if values.get("env") == "development" else "json"
