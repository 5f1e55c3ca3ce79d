import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from circdesk.contract.documents import (
    Bundle,
    ContractError,
    load_bundle,
    resolve,
    with_addresses,
)

WriteContract = Callable[[Mapping[str, str]], Path]

MAIN = """\
    openapi: "3.0.3"
    paths:
      /posts: {$ref: "paths/posts.yaml#/posts"}
    """
POSTS = """\
    posts:
      get:
        operationId: list_posts
        responses:
          200: {$ref: "../components/responses.yaml#/Posts"}
    """
RESPONSES = """\
    Posts:
      content:
        application/json:
          schema: {$ref: "schemas/posts.yaml#/Posts"}
    """
SCHEMAS = """\
    Posts:
      type: array
      items: {$ref: "#/Post"}
    Post: {type: object}
    """
FILES = {
    "openapi.yaml": MAIN,
    "paths/posts.yaml": POSTS,
    "components/responses.yaml": RESPONSES,
    "components/schemas/posts.yaml": SCHEMAS,
}


class TestLoadBundle:
    def test_files_become_one_document_that_keeps_component_names(
        self, write_contract: WriteContract
    ) -> None:
        assert load_bundle(write_contract(FILES)) == Bundle(
            document={
                "openapi": "3.0.3",
                "paths": {
                    "/posts": {
                        "get": {
                            "operationId": "list_posts",
                            "responses": {"200": {"$ref": "#/components/responses/Posts"}},
                        }
                    }
                },
                "components": {
                    "responses": {
                        "Posts": {
                            "content": {
                                "application/json": {
                                    "schema": {"$ref": "#/components/schemas/Posts"}
                                }
                            }
                        }
                    },
                    "schemas": {
                        "Posts": {
                            "type": "array",
                            "items": {"$ref": "#/components/schemas/Post"},
                        },
                        "Post": {"type": "object"},
                    },
                },
            },
            sources={"/posts": "openapi/paths/posts.yaml"},
        )

    def test_a_path_item_in_the_main_file_comes_from_the_main_file(
        self, write_contract: WriteContract
    ) -> None:
        root = write_contract({"openapi.yaml": "paths: {/a: {get: {}}, /b: }"})
        assert load_bundle(root) == Bundle(
            document={"paths": {"/a": {"get": {}}, "/b": None}, "components": {}},
            sources={"/a": "openapi/openapi.yaml", "/b": "openapi/openapi.yaml"},
        )

    def test_a_reference_to_the_main_file_becomes_one_inside_the_bundle(
        self, write_contract: WriteContract
    ) -> None:
        root = write_contract(
            {
                "openapi.yaml": "components: {schemas: {A: {}}}",
                "components/schemas.yaml": 'B: {$ref: "../openapi.yaml#/components/schemas/A"}',
            }
        )
        assert load_bundle(root).document["components"]["schemas"] == {
            "A": {},
            "B": {"$ref": "#/components/schemas/A"},
        }

    def test_a_pointer_may_have_escapes(self, write_contract: WriteContract) -> None:
        root = write_contract(
            {
                "openapi.yaml": 'paths: {/a/b~c: {$ref: "paths/a.yaml#/~1a~1b~0c"}}',
                "paths/a.yaml": "/a/b~c: {get: {}}",
            }
        )
        assert load_bundle(root).document["paths"] == {"/a/b~c": {"get": {}}}

    def test_a_property_may_be_called_ref(self, write_contract: WriteContract) -> None:
        schema = "A: {properties: {$ref: {type: string}}}"
        root = write_contract({"openapi.yaml": "{}", "components/schemas.yaml": schema})
        assert load_bundle(root).document["components"]["schemas"] == {
            "A": {"properties": {"$ref": {"type": "string"}}}
        }

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            pytest.param("18:00", "18:00", id="a time is no number of base 60"),
            pytest.param("no", "no", id="no is a word"),
            pytest.param("2026-01-01", "2026-01-01", id="a date is a text"),
            pytest.param("0x1F", "0x1F", id="JSON has no hexadecimal numbers"),
            pytest.param("1_000", "1_000", id="JSON has no underscores in numbers"),
            pytest.param("007", "007", id="JSON has no leading zeros"),
            pytest.param(".inf", ".inf", id="JSON has no infinity"),
            pytest.param("12", 12, id="an integer"),
            pytest.param("-0.5e3", -500.0, id="a float"),
            pytest.param("true", True, id="true"),
            pytest.param("~", None, id="a tilde is null"),
            pytest.param("", None, id="nothing is null"),
            pytest.param(
                "{1: a, true: b, null: c}", {"1": "a", "true": "b", "null": "c"}, id="keys"
            ),
            pytest.param("{<<: {a: 1}}", {"<<": {"a": 1}}, id="no merging"),
        ],
    )
    def test_yaml_means_what_json_means(
        self, write_contract: WriteContract, text: str, value: object
    ) -> None:
        document = load_bundle(write_contract({"openapi.yaml": f"x-value: {text}"})).document
        assert document == {"x-value": value, "components": {}}
        assert type(document["x-value"]) is type(value)

    @pytest.mark.parametrize(
        ("files", "line"),
        [
            pytest.param(
                {},
                "openapi/openapi.yaml: No such file or directory",
                id="no main file",
            ),
            pytest.param(
                {"openapi.yaml": "- a"},
                "openapi/openapi.yaml: the file is not a mapping",
                id="not a mapping",
            ),
            pytest.param(
                {"openapi.yaml": "a: {\n"},
                "openapi/openapi.yaml:2: did not find expected node content",
                id="not YAML",
            ),
            pytest.param(
                {"openapi.yaml": "a: \x01"},
                "openapi/openapi.yaml: control characters are not allowed",
                id="a control character",
            ),
            pytest.param(
                {"openapi.yaml": "a: 1\nb:\n  c: 1\n  c: 2\n"},
                "openapi/openapi.yaml:4: the key 'c' stands twice",
                id="a duplicate key",
            ),
            pytest.param(
                {"openapi.yaml": "responses: {200: {}, '200': {}}"},
                "openapi/openapi.yaml:1: the key '200' stands twice",
                id="a duplicate key in another form",
            ),
            pytest.param(
                {"openapi.yaml": "? [a]\n: 1"},
                "openapi/openapi.yaml:1: a key that is no text",
                id="a list as a key",
            ),
            pytest.param(
                {**FILES, "components/schemas/more.yaml": "Post: {type: string}"},
                "openapi/components/schemas/posts.yaml: a second component named 'Post'",
                id="two components of one name",
            ),
            pytest.param(
                {**FILES, "paths/posts.yaml": 'posts: {$ref: "../components/schemas/x.yaml#/X"}'},
                "openapi/paths/posts.yaml: '../components/schemas/x.yaml#/X' leads nowhere",
                id="a reference to a missing file",
            ),
            pytest.param(
                {**FILES, "components/responses.yaml": 'Posts: {$ref: "schemas/posts.yaml#/X"}'},
                "openapi/components/responses.yaml: 'schemas/posts.yaml#/X' leads nowhere",
                id="a reference to a missing name",
            ),
            pytest.param(
                {"openapi.yaml": 'paths: {/a: {$ref: "../secret.yaml#/a"}}'},
                "openapi/openapi.yaml: '../secret.yaml#/a' leads nowhere",
                id="a reference out of the folder",
            ),
            pytest.param(
                {"openapi.yaml": 'paths: {/a: {$ref: "https://example.org/a.yaml#/a"}}'},
                "openapi/openapi.yaml: 'https://example.org/a.yaml#/a' leads nowhere",
                id="a reference into the network",
            ),
            pytest.param(
                {"openapi.yaml": 'paths: {/a: {$ref: "#/components/schemas/No"}}'},
                "openapi/openapi.yaml: '#/components/schemas/No' leads nowhere",
                id="a reference within the main file that leads nowhere",
            ),
            pytest.param(
                {
                    "openapi.yaml": 'paths: {/a: {$ref: "a.yaml#/a"}}',
                    "a.yaml": 'a: {$ref: "b.yaml#/b"}',
                    "b.yaml": 'b: {get: {$ref: "a.yaml#/a"}}',
                },
                "openapi/b.yaml: 'a.yaml#/a' leads in a circle",
                id="path items in a circle",
            ),
            pytest.param(
                {
                    "openapi.yaml": "{}",
                    "components/schemas.yaml": 'A: {$ref: "#/B"}\nB: {$ref: "#/A"}',
                },
                "openapi/openapi.yaml: '#/components/schemas/B' leads in a circle",
                id="components in a circle",
            ),
        ],
    )
    def test_what_is_wrong_is_one_line_with_its_file(
        self, write_contract: WriteContract, files: dict[str, str], line: str
    ) -> None:
        root = write_contract(files)
        with pytest.raises(ContractError) as caught:
            load_bundle(root)
        assert str(caught.value) == line


class TestResolve:
    DOCUMENT: ClassVar[Any] = {
        "a": {"$ref": "#/b"},
        "b": {"x/y": {"type": "string"}},
        "c": {"$ref": "#/c"},
    }

    def test_a_node_without_reference_is_itself(self) -> None:
        assert resolve(self.DOCUMENT, {"type": "string"}) == {"type": "string"}

    def test_references_are_followed_to_the_end(self) -> None:
        assert resolve(self.DOCUMENT, {"$ref": "#/a"}) == {"x/y": {"type": "string"}}

    def test_escapes_are_read(self) -> None:
        assert resolve(self.DOCUMENT, {"$ref": "#/b/x~1y"}) == {"type": "string"}

    @pytest.mark.parametrize("reference", ["#/no", "#/b/no", "#/b/x~1y/type/no"])
    def test_a_reference_to_nowhere_is_an_error(self, reference: str) -> None:
        with pytest.raises(ContractError) as caught:
            resolve(self.DOCUMENT, {"$ref": reference})
        assert str(caught.value) == f"'{reference}' leads nowhere"

    def test_a_circle_is_an_error(self) -> None:
        with pytest.raises(ContractError) as caught:
            resolve(self.DOCUMENT, {"$ref": "#/c"})
        assert str(caught.value) == "'#/c' leads in a circle"


class TestWithAddresses:
    SCOPES: ClassVar[Any] = {"read": "Read."}
    KEY: ClassVar[Any] = {"type": "apiKey", "in": "header", "name": "X-API-Key"}

    def test_oauths_addresses_are_made_absolute_and_nothing_else_changes(self) -> None:
        flow = {"tokenUrl": "/oauth/token", "refreshUrl": "/oauth/token", "scopes": self.SCOPES}
        code = {**flow, "authorizationUrl": "/oauth/authorize"}
        document: Any = {
            "paths": {"/": {}},
            "components": {
                "schemas": {"A": {}},
                "securitySchemes": {
                    "OAuth2": {"type": "oauth2", "flows": {"authorizationCode": code}},
                    "ApiKey": self.KEY,
                },
            },
        }
        before = copy.deepcopy(document)

        served = with_addresses(document, "https://desk.example.org")

        assert document == before
        flows = {
            "authorizationCode": {
                "tokenUrl": "https://desk.example.org/oauth/token",
                "refreshUrl": "https://desk.example.org/oauth/token",
                "scopes": self.SCOPES,
                "authorizationUrl": "https://desk.example.org/oauth/authorize",
            }
        }
        before["components"]["securitySchemes"]["OAuth2"]["flows"] = flows
        assert served == before

    def test_a_document_without_schemes_stays_as_it_is(self) -> None:
        document: Any = {"paths": {}, "components": {"schemas": {}}}
        expected: Any = {"paths": {}, "components": {"schemas": {}, "securitySchemes": {}}}
        assert with_addresses(document, "https://desk.example.org") == expected
