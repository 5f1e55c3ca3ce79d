"""Every setting, read once from the environment, typed and frozen.

A setting is the variable `CIRCDESK_<NAME>`; `DATABASE_URL`, `DATABASE_REPLICA_URL` and `REDIS_URL`
keep the names that platforms give them. Each secret may stand in a file instead, named by
`<VARIABLE>_FILE`. Only in development is a file `.env` in the working directory read too.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from circdesk.settings_sources import FileSource, InstanceSource, SettingsError
from circdesk.settings_values import (
    RATE_LIMIT,
    AbsolutePath,
    Key,
    LogFormat,
    checked_redis_url,
    checked_replica_url,
    checked_smtp_url,
    log_format_of,
    uploads_of,
    with_driver,
    without_slash,
)

__all__ = [
    "MissingSettingError",
    "Settings",
    "SettingsError",
    "load_settings",
    "settings_table",
    "variable",
]

_PREFIX = "CIRCDESK_"
_DOTENV = Path(".env")


class MissingSettingError(SettingsError):
    """A setting without a default is not set; the message names its variable in one line."""


class Settings(BaseSettings):
    """The settings of one process; secrets never show in its repr."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_default=True,
    )

    env: Literal["development", "staging", "production", "sandbox"] = Field(
        default="development",
        description="The kind of deployment. Development and sandbox make what is missing; "
        "staging and production refuse to start without it. In a sandbox the clock of the desk "
        "can be moved.",
    )
    instance: AbsolutePath = Field(
        default=Path("instance"),
        description="The directory for the embedded database and for secrets made at first start.",
    )
    database_url: Annotated[SecretStr, AfterValidator(with_driver)] = Field(
        validation_alias="DATABASE_URL",
        description="`postgresql://…` or `sqlite:///…`. Development and sandbox default to SQLite "
        "in the instance directory; staging and production have no default.",
    )
    database_replica_url: Annotated[SecretStr | None, AfterValidator(checked_replica_url)] = Field(
        default=None,
        validation_alias="DATABASE_REPLICA_URL",
        description="`postgresql://…` of a streaming replica of the database, which answers reads "
        "as soon as it has what their caller wrote; without it, the database answers all. It gets "
        "one connection more than there are threads. Several processes need `REDIS_URL` with it.",
    )
    redis_url: Annotated[SecretStr | None, AfterValidator(checked_redis_url)] = Field(
        default=None,
        validation_alias="REDIS_URL",
        description="`redis://…` for what several processes share; without it, each is on its own.",
    )
    uploads: AbsolutePath = Field(
        default_factory=uploads_of,
        description="The directory for files that wait to be imported, shared by the api and the "
        "worker. Defaults to `uploads` in the instance directory.",
    )
    public_url: Annotated[str, AfterValidator(without_slash)] = Field(
        default="",
        pattern=r"^(https?://[^\s/?#]+(/[^\s?#]*)?)?$",
        description="The address at which callers reach the service, such as "
        "`https://library.example`; tokens name it as their issuer. Development and sandbox "
        "default to the address that is served; staging and production have no default.",
    )
    secret_key: Key = Field(
        description="Signs cursors and CSRF tokens; at least 32 characters. Made at first start "
        "in development and sandbox.",
    )
    encryption_key: Key = Field(
        description="Encrypts the private halves of the keys that sign tokens, and the answers "
        "that are kept for repeated requests; at least 32 characters. Made at first start in "
        "development and sandbox.",
    )
    self_registration: bool = Field(
        default=False, description="Whether people may register themselves as members."
    )
    currency: str = Field(
        default="EUR",
        pattern=r"^[A-Z]{3}$",
        description="The currency of all fees, as its ISO 4217 code.",
    )
    mail_hook_url: Annotated[str, AfterValidator(without_slash)] | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$",
        description="Where tokens that go to people by mail are posted as JSON; without it, staff "
        "hand them over.",
    )
    smtp_url: Annotated[SecretStr | None, AfterValidator(checked_smtp_url)] = Field(
        default=None,
        description="`smtp://user:password@host:587` (with STARTTLS where the server has it) or "
        "`smtps://…`, where notices are handed over; without it, none is mailed.",
    )
    mail_from: str = Field(
        default="library@localhost",
        pattern=r"^[^\s@<>]+@[^\s@<>]+$",
        description="The address that notices come from.",
    )
    max_body_bytes: int = Field(
        default=1024**2, ge=1024, description="The largest request body, in bytes; more is a 413."
    )
    max_import_bytes: int = Field(
        default=512 * 1024**2, ge=1024, description="The largest file sent for import, in bytes."
    )
    max_connections: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Connections that one process serves at once; more get a 503.",
    )
    max_concurrency: int = Field(
        default=256,
        ge=1,
        le=10_000,
        description="Requests that run or wait for a thread at once in one process; more get a "
        "503.",
    )
    cors_origins: str = Field(
        default="",
        pattern=r"^(https?://[^\s/?#,*@]+( *, *https?://[^\s/?#,*@]+)*)?$",
        description="The origins whose pages may call from a browser, separated by commas, such as "
        "`https://library.example`; none by default.",
    )
    threads: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Worker threads of one process; it opens six more database connections than "
        "this at most.",
    )
    database_timeout_seconds: float = Field(
        default=5,
        gt=0,
        le=600,
        description="The longest wait for a connection, a lock or a statement; then a 503.",
    )
    body_timeout_seconds: float = Field(
        default=30,
        gt=0,
        le=3600,
        description="The longest wait for the next piece of a request body.",
    )
    rate_limits: str = Field(
        default="",
        max_length=1000,
        pattern=rf"^\s*({RATE_LIMIT}\s*(,\s*{RATE_LIMIT}\s*)*)?$",
        description="What differs from the table of limits, such as "
        "`member=300/minute, anonymous=60/minute`; a limit without a name is for all. Development "
        "and sandbox allow ten times the table.",
    )
    proxy_hops: int = Field(
        default=0,
        ge=0,
        le=10,
        description="The number of proxies of one's own in front of the service; as many of the "
        "last entries of `X-Forwarded-For` are believed.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe level that is logged."
    )
    log_format: LogFormat = Field(
        default_factory=log_format_of,
        description="One JSON object a line, or text for people, the default in development.",
    )
    log_file: AbsolutePath | None = Field(
        default=None,
        validation_alias=AliasChoices("CIRCDESK_LOG_FILE", "LOG_FILE"),
        description="The file that log lines go to instead of standard error; `LOG_FILE` is the "
        "same. Processes of one machine may share it.",
    )
    log_file_bytes: int = Field(
        default=50 * 1024**2,
        ge=1024,
        description="The size at which the log file is set aside as `<name>.1`, in bytes.",
    )
    log_file_count: int = Field(
        default=10, ge=1, le=1000, description="How many older log files are kept."
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        max_length=1024,
        description="The bearer token that reads `/metrics`; at least 16 characters. Without it, "
        "nobody reads them in staging and production, and this machine alone in development and "
        "sandbox.",
    )

    @field_validator("database_replica_url")
    @classmethod
    def _has_a_primary(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        primary: SecretStr | None = info.data.get("database_url")
        # One that was refused itself is not in the data, and is the error to show.
        if url and primary and not primary.get_secret_value().startswith("postgresql"):
            raise ValueError("is for PostgreSQL alone, and DATABASE_URL is another database")
        return url

    @field_validator("public_url")
    @classmethod
    def _has_address(cls, url: str, info: ValidationInfo) -> str:
        """Only what is served can say its own address; `circdesk serve` puts it in this place."""
        if not url and info.data.get("env") in ("staging", "production"):
            raise PydanticCustomError("missing", "Field required")
        return url or "http://127.0.0.1:8000"

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins of `cors_origins`."""
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())

    @property
    def sandbox(self) -> bool:
        """Whether the clock of circulation may be moved."""
        return self.env == "sandbox"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature.
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, environment, `.env`, secrets' files, and last the instance."""
        variables: dict[str, str | None] = {}
        for source in (dotenv_settings, env_settings):
            if isinstance(source, EnvSettingsSource):
                variables |= source.env_vars
        secrets = {name: variable(name) for name in _secrets()}
        files = FileSource(settings_cls, secrets, variables)
        return (init_settings, env_settings, dotenv_settings, files, InstanceSource(settings_cls))


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises:
        MissingSettingError: A setting that has no default in this environment is not set.
        SettingsError: A value is refused, or a `CIRCDESK_` variable is none of the settings.
    """
    dotenv = _DOTENV if os.environ.get("CIRCDESK_ENV", "development") == "development" else None
    _refuse_unknown([*os.environ, *(dotenv_values(dotenv) if dotenv else ())])
    try:
        # The arguments that are missing here come from the environment.
        return Settings(_env_file=dotenv)  # type: ignore[call-arg]
    except ValidationError as error:
        raise _explained(error) from None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return alias if isinstance(alias, str) else f"{_PREFIX}{name.upper()}"


def settings_table() -> str:
    """Every setting as a Markdown table, for the README."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        told = not (field.is_required() or field.default_factory or field.default in (None, ""))
        default = f"`{field.default}`" if told else ""
        secret = f" Or `{variable(name)}_FILE`." if name in _secrets() else ""
        lines.append(f"| `{variable(name)}` | {default} | {field.description}{secret} |")
    return "\n".join(lines) + "\n"


def _secrets() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if SecretStr in (field.annotation, *get_args(field.annotation)):
            yield name


def _refuse_unknown(names: list[str]) -> None:
    """Stop at a misspelt variable, which would otherwise leave a default in force unnoticed."""
    known = {variable(name) for name in Settings.model_fields}
    known |= {f"{variable(name)}_FILE" for name in _secrets()}
    for name in names:
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            raise SettingsError(f"{name} is not a setting of Circdesk")


def _explained(error: ValidationError) -> SettingsError:
    """Name each variable and what is wrong, and never the value, which may be a secret."""
    faults = [
        fault
        for fault in error.errors(include_input=False, include_url=False)
        # A default that is made of a refused value is no fault of its own.
        if fault["type"] != "default_factory_not_called"
    ]
    wrong = [fault for fault in faults if fault["type"] != "missing"]
    if wrong:
        return SettingsError("; ".join(f"{_named(fault)}: {_reason(fault)}" for fault in wrong))
    names = ", ".join(map(_named_with_file, faults))
    return MissingSettingError(f"{names} must be set in this environment")


def _named(fault: ErrorDetails) -> str:
    location = str(fault["loc"][0])
    return variable(location) if location in Settings.model_fields else location


def _named_with_file(fault: ErrorDetails) -> str:
    name = _named(fault)
    return f"{name} (or {name}_FILE)" if name in map(variable, _secrets()) else name


def _reason(fault: ErrorDetails) -> str:
    if fault["type"] == "too_short":
        return f"must have at least {fault['ctx']['min_length']} characters"
    return fault["msg"].removeprefix("Value error, ")
