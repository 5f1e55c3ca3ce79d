"""Flask's extensions: made here, bound to an application by `create_app`."""

from flask_caching import Cache

# Answers that were made once and are good for the next who asks.
cache = Cache()
