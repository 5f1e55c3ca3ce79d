"""The house rules of the contract: our conventions, each a sentence and a function.

`lint` holds a bundled document against all of them. The document must be valid OpenAPI 3.0
already: a dangling reference or a broken pattern is an exception here, not a finding.
"""

# Importing a theme registers its rules.
from circdesk.contract.rules import (
    answers,
    bounds,
    components,
    examples,
    operations,
    parameters,
    responses,
    schemas,
)
from circdesk.contract.rules.registry import RULES, Finding, Rule, lint

__all__ = [
    "RULES",
    "Finding",
    "Rule",
    "answers",
    "bounds",
    "components",
    "examples",
    "lint",
    "operations",
    "parameters",
    "responses",
    "schemas",
]
