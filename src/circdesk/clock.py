"""The one clock, so that a test can set it and every part of the service agrees."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, in UTC. Call it as `clock.now()`, so that it can be replaced."""
    return datetime.now(UTC)
