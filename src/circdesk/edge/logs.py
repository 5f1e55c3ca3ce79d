"""Logs: one line for each event, as JSON for machines or in colour for people."""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
import structlog

from circdesk.edge.log_files import RotatingFile, SteadyStream
from circdesk.edge.redaction import redact, redact_text
from circdesk.edge.request_ids import add_ids
from circdesk.settings import Settings, SettingsError

Entry = dict[str, Any]

_JSON_FORM = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
_JSON_LINE = _JSON_FORM | orjson.OPT_APPEND_NEWLINE

_requests = structlog.get_logger("circdesk.access")
# What writes the line of a request in place of structlog, if anything does.
_write_request: Callable[[Entry], None] | None = None


def log_request(entry: Entry) -> None:
    """Log that a request was answered; the entry is as `circdesk.edge.access` makes it.

    Each request has such a line, and structlog would take longer for it than all that goes before
    a kept answer.
    """
    if _write_request is None:
        _requests.info("request", **entry)
    else:
        _write_request(entry)


def configure_logs(settings: Settings) -> None:
    """Send every log line, also of the libraries, to one place in one form.

    Raises:
        SettingsError: The log file cannot be opened.
    """
    global _write_request  # noqa: PLW0603  As all that structlog has, it is the process's own.
    place = _place(settings)
    shared: list[structlog.typing.Processor] = [
        add_ids,
        _tell_level_and_error,
        redact,
    ]
    if settings.log_format != "json":
        shared.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    lines = _Lines(place)
    renderer = _renderer(settings, colors=place.isatty())
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level.upper()),
        logger_factory=lambda *_names: lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(place)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    is_plain = settings.log_format == "json" and settings.log_level in ("debug", "info")
    _write_request = partial(_write_plainly, place) if is_plain else None


class _Lines:
    """Where structlog writes lines of each level; neither place holds a whole line back."""

    def __init__(self, place: RotatingFile | SteadyStream) -> None:
        self._write = place.write

    def info(self, line: str) -> None:
        self._write(line + "\n")

    debug = warning = error = critical = info


def _write_plainly(place: RotatingFile | SteadyStream, entry: Entry) -> None:
    """Write what structlog would write by the processors for JSON.

    Callers choose nothing of it but the request id. All else is the contract's, an address or an id
    of ours, and needs no closer look.
    """
    entry["request_id"] = redact_text(entry["request_id"])
    entry |= {"event": "request", "level": "info", "timestamp": datetime.now(UTC)}
    place.write_line(orjson.dumps(entry, option=_JSON_LINE))


def _place(settings: Settings) -> RotatingFile | SteadyStream:
    if settings.log_file is None:
        return SteadyStream(sys.stderr)
    try:
        settings.log_file.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFile(
            settings.log_file, most_bytes=settings.log_file_bytes, kept=settings.log_file_count
        )
    except OSError as error:
        message = f"CIRCDESK_LOG_FILE: cannot write {settings.log_file}: {error.strerror}"
        raise SettingsError(message) from None


def _tell_level_and_error(
    logger: object, name: str, entry: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Add the level, by which the method is called, too, and the traceback of what failed."""
    entry["level"] = name
    return (
        structlog.processors.format_exc_info(logger, name, entry) if "exc_info" in entry else entry
    )


def _renderer(settings: Settings, *, colors: bool) -> structlog.typing.Processor:
    if settings.log_format == "json":
        return _to_json
    return structlog.dev.ConsoleRenderer(
        colors=colors,
        # Tracebacks of another kind show local variables, which may hold secrets.
        exception_formatter=structlog.dev.plain_traceback,
    )


def _to_json(_logger: object, _name: str, entry: structlog.typing.EventDict) -> str:
    """The entry with its time, in a fraction of the time that the standard library takes."""
    entry["timestamp"] = datetime.now(UTC)
    return orjson.dumps(entry, default=repr, option=_JSON_FORM).decode()
