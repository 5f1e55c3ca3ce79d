"""A library's circulation desk as an API, written contract first."""

from circdesk.late import without

# It would load rich for tracebacks that show local variables, which no log of ours may.
with without("rich"):
    import structlog  # noqa: F401 - Whoever imports it next finds this one.
