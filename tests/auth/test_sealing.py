"""What is stored encrypted with the environment's key."""

import pytest
from pydantic import SecretStr

from circdesk.auth.sealing import SealBroken, Sealer

KEY, OTHER_KEY = SecretStr("one key of the environment"), SecretStr("another key")
SEALER = Sealer(KEY, "letters")


def test_what_was_sealed_opens_and_tells_nothing_until_then() -> None:
    sealed = SEALER.seal(b"a secret", b"row 1")

    assert b"secret" not in sealed
    assert SEALER.unseal(sealed, b"row 1") == b"a secret"
    # Twice the same is not to be seen either.
    assert SEALER.seal(b"a secret", b"row 1") != sealed


@pytest.mark.parametrize(
    ("sealer", "bound_to"),
    [
        pytest.param(Sealer(OTHER_KEY, "letters"), b"row 1", id="another key"),
        pytest.param(Sealer(KEY, "parcels"), b"row 1", id="another purpose"),
        pytest.param(SEALER, b"row 2", id="another row"),
    ],
)
def test_it_opens_nowhere_else(sealer: Sealer, bound_to: bytes) -> None:
    sealed = SEALER.seal(b"a secret", b"row 1")

    with pytest.raises(SealBroken):
        sealer.unseal(sealed, bound_to)


def test_what_was_changed_does_not_open() -> None:
    sealed = bytearray(SEALER.seal(b"a secret", b"row 1"))
    sealed[-1] ^= 1

    with pytest.raises(SealBroken):
        SEALER.unseal(bytes(sealed), b"row 1")
