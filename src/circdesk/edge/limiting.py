"""Flask-Limiter and `limits`, without the storages that are awaited: ours is not."""

from circdesk.late import later

with later("limits.aio"):
    from flask_limiter import Limiter
    from flask_limiter.util import get_remote_address
    from limits import RateLimitItem, parse
    from limits.storage import MovingWindowSupport, Storage

__all__ = [
    "Limiter",
    "MovingWindowSupport",
    "RateLimitItem",
    "Storage",
    "get_remote_address",
    "parse",
]
