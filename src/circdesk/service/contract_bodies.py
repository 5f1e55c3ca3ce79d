"""The contract as it is served."""

from functools import lru_cache
from typing import Any

import orjson
import yaml

from circdesk.contract.contract import Contract
from circdesk.contract.documents import with_addresses
from circdesk.contract.representations import Representation

CONTRACT_JSON = "circdesk.contract_json"
CONTRACT_YAML = "circdesk.contract_yaml"


def contract_bodies(contract: Contract, public_url: str) -> dict[str, Any]:
    """What makes them, by Flask's name of each: when they are first asked for, once for all."""
    document = with_addresses(contract.document, public_url)

    def as_json() -> Representation:
        body = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        return Representation(body, "application/json", "no-cache")

    def as_yaml() -> Representation:
        # The dumper that is written in C takes a tenth of the time of the other, which is a second.
        text = yaml.dump(
            document, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=100
        )
        return Representation(text.encode(), "application/yaml", "no-cache")

    return {CONTRACT_JSON: lru_cache(as_json), CONTRACT_YAML: lru_cache(as_yaml)}
