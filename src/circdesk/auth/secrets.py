"""Random secrets, which are shown once and stored hashed.

A secret of 256 random bits cannot be guessed, so that one round of SHA-256 is enough to keep it;
only what people choose needs a slow hash.
"""

import hashlib
import secrets


def new_secret(prefix: str = "") -> str:
    """A secret of 256 random bits, after a prefix that tells what it is for."""
    return prefix + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """What is stored of a secret, by which it is found again."""
    return hashlib.sha256(secret.encode()).hexdigest()
