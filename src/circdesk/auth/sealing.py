"""Sealing: what is stored encrypted with the environment's key, CIRCDESK_ENCRYPTION_KEY."""

import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

_NONCE_BYTES = 12


class SealBroken(Exception):
    """It was sealed with another key or for something else, or has been changed since."""


class Sealer:
    """Encrypts for one purpose (AES-256-GCM), by a key derived for it alone (HKDF, RFC 5869).

    Args:
        encryption_key: The environment's key.
        purpose: What is sealed; what was sealed for something else does not open.
    """

    def __init__(self, encryption_key: SecretStr, purpose: str) -> None:
        self._cipher = _cipher(encryption_key, purpose)

    def seal(self, plain: bytes, bound_to: bytes) -> bytes:
        """The bytes, encrypted; bound to its row, a ciphertext is of no use in another."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, bound_to)

    def unseal(self, sealed: bytes, bound_to: bytes) -> bytes:
        """The bytes again. Raises SealBroken."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
        except InvalidTag:
            raise SealBroken from None


@lru_cache(maxsize=8)
def _cipher(encryption_key: SecretStr, purpose: str) -> AESGCM:
    derived = HKDF(SHA256(), length=32, salt=None, info=purpose.encode())
    return AESGCM(derived.derive(encryption_key.get_secret_value().encode()))
