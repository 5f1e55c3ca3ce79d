"""`circdesk`, with a part of it left out that has no switch: its cache, or its contract checks.

    python tests/benchmark/circdesk_variant.py uncached serve --port 8000

What is left out is replaced before the application is put together, and nothing else is. A name
that is gone from where it was stops the start, so that nothing is measured that is not so.
"""

import sys
from dataclasses import replace
from typing import Any

from circdesk.cli import main
from circdesk.contract import answers, schemas
from circdesk.edge import caching
from circdesk.edge.lifetimes import LIFETIMES


def leave_out_cache() -> None:
    """Let no answer be kept here; what is said to other caches stays."""
    kept = {name: replace(each, resources=()) for name, each in LIFETIMES.items()}
    _replace(caching, "LIFETIMES", kept)


def leave_out_checks() -> None:
    """Let every request and every answer be allowed; parameters are parsed all the same."""
    checked = schemas.Check.__init__

    def unchecked(check: schemas.Check, validator: Any) -> None:
        checked(check, validator)
        check.is_valid = lambda _value: True

    _replace(schemas.Check, "__init__", unchecked)
    _replace(answers, "check_answer", lambda *_arguments, **_options: None)


def _replace(owner: Any, name: str, value: Any) -> None:
    getattr(owner, name)
    setattr(owner, name, value)


VARIANTS = {
    "uncached": [leave_out_cache],
    "unchecked": [leave_out_cache, leave_out_checks],
}

if __name__ == "__main__":
    _, variant, *rest = sys.argv
    for leave_out in VARIANTS[variant]:
        leave_out()
    sys.argv = ["circdesk", *rest]
    main()
