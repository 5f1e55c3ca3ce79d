"""What the runner tells each contestant, by its environment."""

import os

# As libpq takes it: postgresql://user@/name?host=/a/directory
DATABASE_URL = os.environ["DATABASE_URL"]
# `orm` is how the framework's documentation shows it, `sql` sends the statements of Circdesk.
FORM = os.environ["RIVAL_FORM"]
# Who has signed the access tokens, for whom they are, and the key that verifies them, as a JWK.
ISSUER = os.environ["RIVAL_ISSUER"]
AUDIENCE = f"{ISSUER}/api"
PUBLIC_KEY = os.environ["RIVAL_PUBLIC_KEY"]
# Database connections and threads: as many as Circdesk's default of threads.
AT_ONCE = 16


def sqlalchemy_url(driver: str) -> str:
    """The URL of the database for SQLAlchemy, with this driver."""
    return DATABASE_URL.replace("postgresql://", f"postgresql+{driver}://", 1)


# Moments come back in the session's zone.
IN_UTC = "-c timezone=UTC"
