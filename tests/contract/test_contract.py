from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from circdesk.contract.contract import load_contract
from circdesk.contract.documents import ContractError

WriteFiles = Callable[[Mapping[str, str]], Path]

MAIN = """\
    openapi: "3.0.3"
    info: {title: Pears, version: "1"}
    paths:
      /pears: {$ref: "paths/pears.yaml#/pears"}
      /pears/{pear_id}: {$ref: "paths/pears.yaml#/pear"}
    """
PEARS = """\
    pears:
      get:
        operationId: list_pears
        tags: [fruit]
        parameters:
          - {name: ripe, in: query, schema: {type: boolean, default: true}}
        responses: {200: {$ref: "../components/responses.yaml#/Pear"}}
    pear:
      parameters:
        - {name: pear_id, in: path, required: true, schema: {type: string}}
      delete:
        operationId: delete_pear
        tags: [fruit]
        responses: {204: {description: Gone.}}
    """
LIST = "operationId: list_pears\n        tags: [fruit]"
DELETE = "operationId: delete_pear\n        tags: [fruit]"
RESPONSES = """\
    Pear:
      description: A pear.
      content: {application/json: {schema: {$ref: "schemas.yaml#/Pear"}}}
    """
SCHEMAS = "Pear: {type: object, properties: {name: {type: string}}}"
FILES = {
    "openapi.yaml": MAIN,
    "paths/pears.yaml": PEARS,
    "components/responses.yaml": RESPONSES,
    "components/schemas.yaml": SCHEMAS,
}
HANDLERS = {
    "fruit/__init__.py": "",
    "fruit/handlers.py": """\
        def list_pears(*, ripe): pass
        def delete_pear(*, pear_id): pass
        """,
}


def test_a_contract_that_agrees_with_its_handlers_is_loaded(
    write_contract: WriteFiles, write_handlers: WriteFiles
) -> None:
    write_handlers(HANDLERS)
    contract = load_contract(write_contract(FILES))
    assert {name: (op.method, op.path) for name, op in contract.operations.items()} == {
        "list_pears": ("GET", "/pears"),
        "delete_pear": ("DELETE", "/pears/{pear_id}"),
    }
    assert contract.document["components"]["schemas"] == {
        "Pear": {"type": "object", "properties": {"name": {"type": "string"}}}
    }


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("files", "line"),
    [
        pytest.param(
            {"openapi.yaml": changed(MAIN, "openapi:", "x-openapi:")},
            'openapi/openapi.yaml: "openapi" is a required property',
            id="no version",
        ),
        pytest.param(
            {"openapi.yaml": 'openapi: "3.0.3"\ninfo: {title: a, version: "1"}'},
            'openapi/openapi.yaml: "paths" is a required property',
            id="no paths",
        ),
        pytest.param(
            {"openapi.yaml": 'openapi: "3.0.3"\ninfo: {title: a, version: "1"}\npaths:'},
            'openapi/openapi.yaml: /paths: null is not of type "object"',
            id="paths that are nothing",
        ),
        pytest.param(
            {"openapi.yaml": changed(MAIN, '{$ref: "paths/pears.yaml#/pears"}', "pear")},
            'openapi/openapi.yaml: /pears: "pear" is not of type "object"',
            id="a path item that is none",
        ),
        pytest.param(
            {"paths/pears.yaml": changed(PEARS, DELETE, DELETE.replace("tags", "x-tags"))},
            "openapi/paths/pears.yaml: delete_pear: there is no tag",
            id="no tag",
        ),
        pytest.param(
            {"paths/pears.yaml": changed(PEARS, "operationId: delete", "summary: Delete")},
            "openapi/paths/pears.yaml: delete /pears/{pear_id}: there is no operationId",
            id="no operationId",
        ),
        pytest.param(
            {"paths/pears.yaml": changed(PEARS, "delete_pear", "list_pears")},
            "openapi/paths/pears.yaml: list_pears:"
            " openapi/paths/pears.yaml has the same operationId",
            id="equal operationIds",
        ),
        pytest.param(
            {"paths/pears.yaml": changed(PEARS, "responses: {204", "x-responses: {204")},
            'openapi/paths/pears.yaml: delete_pear: "responses" is a required property',
            id="no responses",
        ),
        pytest.param(
            {"paths/pears.yaml": changed(PEARS, LIST, LIST.replace("[fruit]", "fruit"))},
            'openapi/paths/pears.yaml: list_pears: /tags: "fruit" is not of type "array"',
            id="tags that are no list",
        ),
        pytest.param(
            {"paths/pears.yaml": changed(PEARS, "default: true", "default: yes")},
            "openapi/paths/pears.yaml: list_pears: 'yes' is not of type 'boolean'",
            id="a default of another type",
        ),
        pytest.param(
            {
                "components/responses.yaml": changed(
                    RESPONSES, '{$ref: "schemas.yaml#/Pear"}', "{type: boolean, default: yes}"
                ),
                "paths/pears.yaml": changed(
                    PEARS, "{204:", '{200: {$ref: "../components/responses.yaml#/Pear"}, 204:'
                ),
            },
            "openapi/paths/pears.yaml: list_pears: 'yes' is not of type 'boolean'",
            id="a fault in an answer that two operations share",
        ),
        pytest.param(
            {"paths/pears.yaml": changed(PEARS, "name: pear_id", "name: pear")},
            "openapi/paths/pears.yaml: delete_pear: Path parameter 'pear_id' for 'delete' operation"
            " in '/pears/{pear_id}' was not resolved",
            id="a path parameter that is not declared",
        ),
        pytest.param(
            {"paths/pears.yaml": changed(PEARS, "204:", "2XX:")},
            "openapi/paths/pears.yaml: delete_pear: the response '2XX' has no status of its own",
            id="a range of statuses",
        ),
        pytest.param(
            {"paths/pears.yaml": changed(PEARS, "responses.yaml#/Pear", "responses.yaml#/Plum")},
            "openapi/paths/pears.yaml: '../components/responses.yaml#/Plum' leads nowhere",
            id="a reference to nowhere",
        ),
        pytest.param(
            {"paths/pears.yaml": PEARS + "pear: {}\n"},
            "openapi/paths/pears.yaml:15: the key 'pear' stands twice",
            id="a duplicate key",
        ),
        pytest.param(
            {"components/schemas/more.yaml": SCHEMAS},
            "openapi/components/schemas.yaml: a second component named 'Pear'",
            id="two components of one name",
        ),
        pytest.param(
            {"components/schemas.yaml": changed(SCHEMAS, "string", "strin")},
            "openapi/openapi.yaml: /components/schemas/Pear/properties/name/type:"
            " 'strin' is not valid under any of the given schemas",
            id="a type that is none",
        ),
        pytest.param(
            {"components/schemas.yaml": changed(SCHEMAS, "string", "string, pattern: '('")},
            "openapi/openapi.yaml: /components/schemas/Pear/properties/name/pattern:"
            " '(' is not a 'regex'",
            id="a pattern that is none",
        ),
        pytest.param(
            {"openapi.yaml": MAIN + '  /pears/{other}: {$ref: "paths/pears.yaml#/other"}\n',
             "paths/pears.yaml": PEARS + "other: {}\n"},
            "openapi/paths/pears.yaml: /pears/{other}: /pears/{pear_id} is the same path",
            id="one path under two names",
        ),
        pytest.param(
            {"openapi.yaml": changed(MAIN, "/{pear_id}:", "/{pear_id}.json:")},
            "openapi/paths/pears.yaml: /pears/{pear_id}.json:"
            " a segment is a parameter only in part",
            id="half a segment",
        ),
    ],
)  # fmt: skip
def test_an_invalid_contract_is_one_line(
    write_contract: WriteFiles, write_handlers: WriteFiles, files: dict[str, str], line: str
) -> None:
    write_handlers(HANDLERS)
    root = write_contract(FILES | files)
    with pytest.raises(ContractError) as caught:
        load_contract(root)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("handlers", "line"),
    [
        pytest.param(
            "def list_pears(*, ripe): pass",
            "openapi/paths/pears.yaml: delete_pear: circdesk.fruit.handlers has no such function",
            id="an operation without handler",
        ),
        pytest.param(
            """\
            def list_pears(*, ripe): pass
            def delete_pear(*, pear_id): pass
            def eat_pear(*, pear_id): pass
            """,
            "circdesk.fruit.handlers: eat_pear: no operation with the tag fruit has this name",
            id="a handler without operation",
        ),
        pytest.param(
            """\
            def list_pears(*, ripe): pass
            def delete_pear(*, pear, force=False): pass
            """,
            "openapi/paths/pears.yaml: delete_pear: the handler takes ['force', 'pear'] beyond the"
            " contract and lacks ['pear_id']",
            id="other arguments",
        ),
        pytest.param(
            """\
            def list_pears(ripe): pass
            def delete_pear(*, pear_id): pass
            """,
            "openapi/paths/pears.yaml: list_pears:"
            " the handler's argument 'ripe' is not keyword-only",
            id="a positional argument",
        ),
    ],
)
def test_a_contract_that_differs_from_its_handlers_is_one_line(
    write_contract: WriteFiles, write_handlers: WriteFiles, handlers: str, line: str
) -> None:
    write_handlers(HANDLERS | {"fruit/handlers.py": handlers})
    root = write_contract(FILES)
    with pytest.raises(ContractError) as caught:
        load_contract(root)
    assert str(caught.value) == line
