"""Flask's extension objects, bound to an application by `create_app`.

The limiter keeps what it is bound with, so that one for all applications of a process, as tests
have them, would be the last one's.
"""

import flask
from flask_caching import Cache

from circdesk.edge.limiting import Limiter, get_remote_address
from circdesk.edge.shared_windows import SCHEME

# Answers that were made once and are good for the next who asks.
cache = Cache()


def make_limiter(redis_url: str | None) -> Limiter:
    """Flask-Limiter with moving windows, in Redis where there is a URL, else in memory."""
    return Limiter(
        get_remote_address,
        storage_uri=f"{SCHEME}:",
        # What stands here is for the storage, which knows better than `limits` what it takes.
        storage_options={"url": redis_url} if redis_url else None,
        strategy="moving-window",
    )


def bind_limiter(limiter: Limiter, app: flask.Flask) -> None:
    """Make its storage and its strategy, and leave out its hooks.

    They find each request's limits anew, which costs more than all else that Flask does (125 µs
    against 95), and would count only what reaches Flask; `edge/limits.py` asks the storage in
    both places.
    """
    # Hooks are registered for an extension that the application does not know yet.
    app.extensions["limiter"] = {limiter}
    limiter.init_app(app)
