from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, Unpack

import pytest

from circdesk.contract.handlers import find_handlers, handler_arguments

WriteHandlers = Callable[[Mapping[str, str]], Path]


class Filters(TypedDict):
    q: str
    page: NotRequired[int]


def keyword_only(*, post_id: str, body: dict[str, Any] | None = None) -> None: ...
def unpacked(*, sort: str, **filters: Unpack[Filters]) -> None: ...
def nothing() -> None: ...
def positional(post_id: str) -> None: ...
def anything(**filters: Any) -> None: ...
def mapped(**filters: dict[str, int]) -> None: ...
def starred(*post_ids: str) -> None: ...


class TestHandlerArguments:
    @pytest.mark.parametrize(
        ("handler", "names"),
        [
            (keyword_only, {"post_id", "body"}),
            (unpacked, {"sort", "q", "page"}),
            (nothing, set()),
        ],
    )
    def test_the_names_that_a_handler_takes(
        self, handler: Callable[..., Any], names: set[str]
    ) -> None:
        assert handler_arguments(handler) == names

    @pytest.mark.parametrize(
        ("handler", "argument"),
        [
            (positional, "post_id"),
            (anything, "filters"),
            (mapped, "filters"),
            (starred, "post_ids"),
        ],
    )
    def test_every_argument_has_a_name_of_its_own(
        self, handler: Callable[..., Any], argument: str
    ) -> None:
        with pytest.raises(TypeError) as caught:
            handler_arguments(handler)
        assert str(caught.value) == f"the handler's argument {argument!r} is not keyword-only"


class TestFindHandlers:
    def test_handlers_are_found_by_domain_and_name(self, write_handlers: WriteHandlers) -> None:
        write_handlers(
            {
                "fruit/__init__.py": "",
                "fruit/handlers.py": """\
                    from json import dumps
                    def list_pears(): pass
                    def _sort(): pass
                    class Pear: pass
                    """,
                "tools/__init__.py": "",
                "tools/handlers/__init__.py": "def use_tool(): pass",
                "tools/handlers/saws.py": "def saw_wood(): pass",
                "models/__init__.py": "",
                "models/tables.py": "def not_a_handler(): pass",
                "plain.py": "def nor_this(): pass",
            }
        )
        found = {key: function.__module__ for key, function in find_handlers().items()}
        assert found == {
            ("fruit", "list_pears"): "circdesk.fruit.handlers",
            ("tools", "use_tool"): "circdesk.tools.handlers",
            ("tools", "saw_wood"): "circdesk.tools.handlers.saws",
        }
