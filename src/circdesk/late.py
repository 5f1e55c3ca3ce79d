"""Modules that libraries import for a few of their users, and that this service has no use for.

To load what Connexion imports for its test client and for contracts elsewhere in the web would
take a tenth of the start, and 10 MB.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


@contextmanager
def later(*names: str) -> Iterator[None]:
    """Let what is imported in the block find stand-ins for these modules.

    Whatever a stand-in is asked for is a function that imports the module when it is called, and
    calls what the module has by that name.
    """
    yield from _in_place_of(names, _StandIn)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let what is imported in the block, and can do without these modules, not find them."""
    yield from _in_place_of(names, lambda _name: None)


def _in_place_of(
    names: tuple[str, ...], other: Callable[[str], ModuleType | None]
) -> Iterator[None]:
    modules: dict[str, Any] = sys.modules
    missing = [name for name in names if name not in modules]
    modules |= {name: other(name) for name in missing}
    try:
        yield
    finally:
        for name in missing:
            del modules[name]


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            # The import system asks for some that it can do without.
            raise AttributeError(name)

        def call(*arguments: Any, **options: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*arguments, **options)

        return call
