"""What is made at the start stays for as long as the process does."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting() -> Iterator[None]:
    """Make what stays, such as modules and the compiled contract, in the block.

    The garbage collector looks through none of it, neither now, which would take a sixth of the
    start, nor later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
