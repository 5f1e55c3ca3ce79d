"""Handlers: found by tag and operationId, held against the contract before the start.

The operation `list_posts` with the tag `news` is answered by `list_posts` in
`circdesk.news.handlers` or, where that is a package, in one of its modules.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any, get_args, is_typeddict

import circdesk
from circdesk.contract.framework import AbstractOperation, Resolution, Resolver

Handler = Callable[..., Any]


class HandlerResolver(Resolver):  # type: ignore[misc]  # Connexion ships no types.
    """Connexion's resolver seam: no Python name stands in the contract."""

    def resolve(self, operation: AbstractOperation) -> Resolution:
        """The handler of an operation, which the check at start has found before."""
        name = operation.operation_id
        return Resolution(find_handlers()[operation._operation["tags"][0], name], name)  # noqa: SLF001  Connexion has no other way to an operation's tags.


@cache
def find_handlers() -> dict[tuple[str, str], Handler]:
    """Every handler of the package, by domain (the contract's tag) and name (its operationId)."""
    return {
        (domain, name): function
        for domain, module in _handler_modules()
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


def _handler_modules() -> Iterator[tuple[str, ModuleType]]:
    for domain in pkgutil.iter_modules(circdesk.__path__):
        if not domain.ispkg or domain.name == "contract":
            continue
        package = importlib.import_module(f"circdesk.{domain.name}")
        if any(module.name == "handlers" for module in pkgutil.iter_modules(package.__path__)):
            module = importlib.import_module(f"circdesk.{domain.name}.handlers")
            yield domain.name, module
            for inner in pkgutil.iter_modules(getattr(module, "__path__", ())):
                yield domain.name, importlib.import_module(f"{module.__name__}.{inner.name}")


def handler_arguments(handler: Handler) -> set[str]:
    """The names that a handler takes: its keyword-only parameters and its `Unpack`ed ones.

    Raises:
        TypeError: It has a positional parameter, or a `**` that is no `Unpack[TypedDict]`.
    """
    names: set[str] = set()
    for parameter in inspect.signature(handler).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            names.add(parameter.name)
        elif parameter.kind is parameter.VAR_KEYWORD and _unpacked(parameter.annotation):
            names |= _unpacked(parameter.annotation)
        else:
            raise TypeError(f"the handler's argument {parameter.name!r} is not keyword-only")
    return names


def _unpacked(annotation: Any) -> set[str]:
    for typed in get_args(annotation):
        if is_typeddict(typed):
            return set(typed.__required_keys__ | typed.__optional_keys__)
    return set()
