"""Each house rule: a good contract passes, and one breach gives exactly one finding."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from circdesk.contract.rules import RULES, Finding, lint

JSON = dict[str, Any]
Breach = Callable[[JSON], Any]

GOOD: JSON = yaml.load(
    Path(__file__).with_name("good_contract.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader
)


class Case(NamedTuple):
    finding: Finding
    breach: Breach


CASES: dict[str, Case] = {}


def breaks(rule: str, place: str, message: str) -> Callable[[Breach], Breach]:
    """Register a breach of the good contract, and the one finding that it must give."""

    def register(breach: Breach) -> Breach:
        assert breach.__name__ not in CASES, "two cases have one name"
        CASES[breach.__name__] = Case(Finding(rule, place, message), breach)
        return breach

    return register


def operation(document: JSON, name: str) -> JSON:
    """The operation of that operationId."""
    nodes = (
        node
        for item in document["paths"].values()
        for node in item.values()
        if isinstance(node, dict)
    )
    return next(node for node in nodes if node["operationId"] == name)


def schema(document: JSON, name: str) -> JSON:
    """The properties of a component."""
    properties: JSON = document["components"]["schemas"][name]["properties"]
    return properties


def parameter(document: JSON, **changes: Any) -> None:
    """Add a query parameter to `list_books`, good but for the changes."""
    node = {
        "name": "q",
        "in": "query",
        "description": "Words.",
        "schema": {"type": "string", "maxLength": 100, "example": "emma"},
    }
    operation(document, "list_books")["parameters"].append(node | changes)


BOOK = "/components/schemas/Book/properties"
ADDED = "/paths/~1api~1books/get/parameters/3"


@breaks(
    "operation_keys_stand_in_order",
    "operationId delete_book",
    "the keys stand as operationId, summary, description, tags, responses, security",
)
def security_after_responses(document: JSON) -> None:
    node = operation(document, "delete_book")
    node["security"] = node.pop("security")


@breaks(
    "operation_keys_stand_in_order",
    "operationId delete_book",
    "servers has no place in an operation",
)
def servers_of_an_operation(document: JSON) -> None:
    operation(document, "delete_book")["servers"] = [{"url": "/v2"}]


@breaks(
    "operation_ids_are_unique",
    "operationId list_books",
    "DELETE /api/books/{book_id} and GET /api/books share it",
)
def twin_operation_ids(document: JSON) -> None:
    operation(document, "delete_book")["operationId"] = "list_books"


@breaks(
    "operation_ids_are_plain_names",
    "/paths/~1api~1books~1{book_id}/delete",
    "the operationId is not snake_case",
)
def missing_operation_id(document: JSON) -> None:
    del operation(document, "delete_book")["operationId"]


@breaks(
    "operation_ids_are_plain_names",
    "operationId deleteBook",
    "the operationId is not snake_case",
)
def camel_case_operation_id(document: JSON) -> None:
    operation(document, "delete_book")["operationId"] = "deleteBook"


@breaks(
    "operation_ids_are_plain_names",
    f"operationId delete_{'x' * 42}",
    "the operationId has 49 characters of 48",
)
def long_operation_id(document: JSON) -> None:
    operation(document, "delete_book")["operationId"] = f"delete_{'x' * 42}"


@breaks("operation_ids_are_plain_names", "operationId book_delete", "'book' is none of our verbs")
def noun_first_operation_id(document: JSON) -> None:
    operation(document, "delete_book")["operationId"] = "book_delete"


@breaks(
    "operation_ids_are_plain_names",
    "operationId delete_a_book",
    "the operationId contains an article",
)
def article_in_an_operation_id(document: JSON) -> None:
    operation(document, "delete_book")["operationId"] = "delete_a_book"


@breaks("operations_are_described", "operationId delete_book", "there is no summary")
def blank_summary(document: JSON) -> None:
    operation(document, "delete_book")["summary"] = " "


@breaks(
    "operations_are_described",
    "operationId delete_book",
    "the summary has 121 characters of 120",
)
def long_summary(document: JSON) -> None:
    operation(document, "delete_book")["summary"] = "x" * 121


@breaks("operations_are_described", "operationId delete_book", "there is no description")
def missing_description(document: JSON) -> None:
    del operation(document, "delete_book")["description"]


@breaks(
    "operations_are_described",
    "operationId delete_book",
    "the description has 301 characters of 300",
)
def long_description(document: JSON) -> None:
    operation(document, "delete_book")["description"] = "x" * 301


@breaks("operations_have_one_tag", "operationId delete_book", "there are 2 tags")
def two_tags(document: JSON) -> None:
    operation(document, "delete_book")["tags"] *= 2


@breaks("operations_have_one_tag", "operationId delete_book", "the tag 'x' is not declared")
def undeclared_tag(document: JSON) -> None:
    operation(document, "delete_book")["tags"] = ["x"]


@breaks("tags_are_used", "/tags/1", "no operation has the tag 'news'")
def unused_tag(document: JSON) -> None:
    document["tags"].append({"name": "news", "description": "Posts."})


@breaks("operations_state_their_security", "operationId issue_token", "there is no security")
def missing_security(document: JSON) -> None:
    del operation(document, "issue_token")["security"]


@breaks("writes_need_credentials", "operationId create_book", "anybody may POST")
def anonymous_write(document: JSON) -> None:
    operation(document, "create_book")["security"] = [{"ApiKey": []}, {}]


def with_oauth(document: JSON, **scopes: list[str]) -> None:
    """Give the document an oauth2 scheme and each operation its scopes."""
    document["components"]["securitySchemes"]["oauth2"] = {
        "type": "oauth2",
        "flows": {"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {"books": "Books."}}},
    }
    for name in ("list_books", "create_book", "delete_book"):
        operation(document, name)["security"].append({"oauth2": scopes.get(name, ["books"])})


@breaks("secured_operations_name_scopes", "operationId delete_book", "its security names no scope")
def secured_without_scope(document: JSON) -> None:
    with_oauth(document, delete_book=[])


@breaks(
    "secured_operations_name_scopes", "operationId delete_book", "the scope 'x' is not declared"
)
def undeclared_scope(document: JSON) -> None:
    with_oauth(document, delete_book=["books", "x"])


@breaks(
    "scopes_are_used",
    "/components/securitySchemes/oauth2",
    "no operation names the scope 'spare'",
)
def unused_scope(document: JSON) -> None:
    with_oauth(document)
    flows = document["components"]["securitySchemes"]["oauth2"]["flows"]
    flows["clientCredentials"]["scopes"]["spare"] = "Nothing."


@breaks("reads_and_deletions_take_no_body", "operationId delete_book", "DELETE takes a body")
def deletion_with_a_body(document: JSON) -> None:
    node = operation(document, "delete_book")
    responses = node.pop("responses")
    node["requestBody"] = operation(document, "create_book")["requestBody"]
    invalid = responses["400"]
    node["responses"] = dict(sorted({**responses, "413": invalid, "415": invalid}.items()))


def rename_path(document: JSON, name: str) -> None:
    document["paths"][name] = document["paths"].pop("/api/books/{book_id}")


@breaks("paths_are_plain", "/paths/~1api~1books~1{book_id}~1", "the segment '' is not plain")
def trailing_slash(document: JSON) -> None:
    rename_path(document, "/api/books/{book_id}/")


@breaks("paths_are_plain", "/paths/~1api~1~1{book_id}", "the segment '' is not plain")
def doubled_slash(document: JSON) -> None:
    rename_path(document, "/api//{book_id}")


@breaks("paths_are_plain", "/paths/~1api~1Books~1{book_id}", "the segment 'Books' is not plain")
def capital_in_a_path(document: JSON) -> None:
    rename_path(document, "/api/Books/{book_id}")


@breaks("paths_are_plain", "/paths/~1api~1x-{book_id}", "the segment 'x-{book_id}' is not plain")
def word_beside_a_variable(document: JSON) -> None:
    rename_path(document, "/api/x-{book_id}")


@breaks(
    "path_parameters_name_keys",
    "/paths/~1api~1books~1{isbn}/parameters/0",
    "'isbn' is neither an id nor a listed key",
)
def path_parameter_without_id(document: JSON) -> None:
    rename_path(document, "/api/books/{isbn}")
    document["paths"]["/api/books/{isbn}"]["parameters"][0]["name"] = "isbn"


@breaks("parameter_names_are_snake_case", ADDED, "'perPage' is not snake_case")
def camel_case_parameter(document: JSON) -> None:
    parameter(document, name="perPage")


@breaks("parameters_are_described", ADDED, "there is no description")
def parameter_without_description(document: JSON) -> None:
    parameter(document, description="")


@breaks("parameters_are_described", ADDED, "the description has 701 characters of 700")
def parameter_with_a_long_description(document: JSON) -> None:
    parameter(document, description="x" * 701)


@breaks("header_parameters_are_heard", ADDED, "OpenAPI ignores the header parameter Authorization")
def ignored_header(document: JSON) -> None:
    parameter(document, **{"in": "header", "name": "Authorization"})


@breaks(
    "responses_stand_in_order",
    "operationId issue_token",
    "the responses stand as 400, 500, 503, 200",
)
def success_last(document: JSON) -> None:
    responses = operation(document, "issue_token")["responses"]
    responses["200"] = responses.pop("200")


@breaks(
    "responses_stand_in_order",
    "operationId issue_token",
    "200, 400, 500, 503, default are not single statuses",
)
def default_response(document: JSON) -> None:
    operation(document, "issue_token")["responses"]["default"] = {"description": "x"}


@breaks("responses_stand_in_order", "operationId issue_token", "there is no success")
def no_success(document: JSON) -> None:
    del operation(document, "issue_token")["responses"]["200"]


@breaks(
    "errors_are_references",
    "operationId delete_book",
    "409 is no reference to a shared response",
)
def inline_error(document: JSON) -> None:
    responses = operation(document, "delete_book")["responses"]
    found = {**responses, "409": document["components"]["responses"]["Invalid"]}
    operation(document, "delete_book")["responses"] = dict(sorted(found.items()))


@breaks(
    "errors_are_problems",
    "/components/responses/Broken",
    "its media types are ['application/json']",
)
def error_as_plain_json(document: JSON) -> None:
    broken = document["components"]["responses"]["Broken"]
    broken["content"] = {"application/json": broken["content"]["application/problem+json"]}


@breaks("errors_are_problems", "/components/responses/Broken", "its media types are []")
def error_without_content(document: JSON) -> None:
    del document["components"]["responses"]["Broken"]["content"]


@breaks(
    "errors_carry_their_headers",
    "operationId delete_book",
    "its 401 declares no WWW-Authenticate",
)
def refusal_without_challenge(document: JSON) -> None:
    responses = operation(document, "delete_book")["responses"]
    responses["401"] = responses["400"]


@breaks("errors_carry_their_headers", "operationId issue_token", "its 429 declares no Retry-After")
def limit_without_retry_after(document: JSON) -> None:
    responses = operation(document, "issue_token")["responses"]
    found = {**responses, "429": responses["400"]}
    operation(document, "issue_token")["responses"] = dict(sorted(found.items()))


@breaks("operations_document_common_errors", "operationId issue_token", "400 is not documented")
def undocumented_400(document: JSON) -> None:
    del operation(document, "issue_token")["responses"]["400"]


@breaks("operations_document_common_errors", "operationId issue_token", "500 is not documented")
def undocumented_500(document: JSON) -> None:
    del operation(document, "issue_token")["responses"]["500"]


@breaks("operations_document_common_errors", "operationId issue_token", "503 is not documented")
def undocumented_503(document: JSON) -> None:
    del operation(document, "issue_token")["responses"]["503"]


@breaks("resources_document_404", "operationId delete_book", "404 is not documented")
def undocumented_404(document: JSON) -> None:
    del operation(document, "delete_book")["responses"]["404"]


@breaks("secured_operations_document_refusals", "operationId list_books", "401 is not documented")
def undocumented_401_where_credentials_are_optional(document: JSON) -> None:
    del operation(document, "list_books")["responses"]["401"]


@breaks("secured_operations_document_refusals", "operationId delete_book", "403 is not documented")
def undocumented_403(document: JSON) -> None:
    with_oauth(document)
    del operation(document, "delete_book")["responses"]["403"]


@breaks("bodies_document_their_refusals", "operationId create_book", "413 is not documented")
def undocumented_413(document: JSON) -> None:
    del operation(document, "create_book")["responses"]["413"]


@breaks("bodies_document_their_refusals", "operationId create_book", "415 is not documented")
def undocumented_415(document: JSON) -> None:
    del operation(document, "create_book")["responses"]["415"]


@breaks(
    "lists_answer_in_one_envelope",
    "operationId list_books",
    "its answer lacks total, links",
)
def list_without_total(document: JSON) -> None:
    del schema(document, "BookList")["total"], schema(document, "BookList")["links"]
    value = document["components"]["examples"]["page"]["value"]
    del value["total"], value["links"]


@breaks(
    "lists_answer_in_one_envelope",
    "operationId list_books",
    "its answer lacks items, page, per_page, total, next_cursor, links",
)
def list_without_schema(document: JSON) -> None:
    # The token takes over the list's answer, so that its components stay in use.
    responses = operation(document, "list_books")["responses"]
    operation(document, "issue_token")["responses"]["200"] = responses["200"]
    responses["200"] = {"description": "A page."}


@breaks("creations_name_a_location", "operationId create_book", "its 201 declares no Location")
def creation_without_location(document: JSON) -> None:
    headers = operation(document, "create_book")["responses"]["201"]["headers"]
    headers["Content-Location"] = headers.pop("Location")


@breaks("deletions_answer_204", "operationId delete_book", "its successes are 200")
def deletion_with_an_answer(document: JSON) -> None:
    responses = operation(document, "delete_book")["responses"]
    del responses["204"]
    operation(document, "delete_book")["responses"] = {"200": {"description": "x"}, **responses}


@breaks("empty_answers_have_no_content", "operationId delete_book", "its 204 has content")
def content_of_a_204(document: JSON) -> None:
    answer = operation(document, "delete_book")["responses"]["204"]
    answer["content"] = {"text/plain": {"schema": {"type": "string"}}}


@breaks(
    "successes_may_clear_stale_sessions",
    "operationId delete_book",
    "its 204 declares no Set-Cookie",
)
def session_that_is_never_cleared(document: JSON) -> None:
    session = {"type": "apiKey", "in": "cookie", "name": "session", "description": "A cookie."}
    document["components"]["securitySchemes"]["Session"] = session
    operation(document, "delete_book")["security"].append({"Session": []})


@breaks(
    "media_types_have_schemas",
    "/paths/~1api~1books/post/requestBody/content/application~1marc",
    "there is no schema",
)
def media_type_without_schema(document: JSON) -> None:
    operation(document, "create_book")["requestBody"]["content"]["application/marc"] = {}


@breaks("schemas_have_types", f"{BOOK}/note", "there is no type")
def property_without_type(document: JSON) -> None:
    schema(document, "Book")["note"] = {"description": "x", "example": "x"}


@breaks("schemas_have_types", f"{ADDED}/schema", "there is no type")
def parameter_without_type(document: JSON) -> None:
    parameter(document, schema={"maxLength": 100, "example": "x"})


@breaks("schemas_have_types", f"{BOOK}/note", "there is no type")
def choice_without_type(document: JSON) -> None:
    choices = [{"type": "string", "maxLength": 9}, {"enum": ["x"]}]
    schema(document, "Book")["note"] = {"anyOf": choices, "example": "x"}


@breaks("nullable_schemas_have_types", f"{BOOK}/printed", "nullable stands without type")
def nullable_without_type(document: JSON) -> None:
    schema(document, "Book")["printed"]["nullable"] = True


@breaks("references_stand_alone", f"{BOOK}/printed/allOf/0", "description stands beside $ref")
def description_beside_a_reference(document: JSON) -> None:
    schema(document, "Book")["printed"]["allOf"][0]["description"] = "x"


@breaks(
    "objects_are_closed",
    "/components/schemas/Publisher",
    "additionalProperties is not false",
)
def open_object(document: JSON) -> None:
    del document["components"]["schemas"]["Publisher"]["additionalProperties"]


@breaks("objects_are_closed", f"{BOOK}/copies", "additionalProperties is not false")
def map_of_anything(document: JSON) -> None:
    schema(document, "Book")["copies"]["additionalProperties"] = True


@breaks("property_names_are_snake_case", f"{BOOK}/dueAt", "'dueAt' is not snake_case")
def camel_case_property(document: JSON) -> None:
    schema(document, "Book")["dueAt"] = {"type": "boolean", "example": True}


@breaks(
    "required_properties_exist",
    "/components/schemas/Book",
    "'isbn' is required and no property",
)
def required_and_undefined(document: JSON) -> None:
    document["components"]["schemas"]["Book"]["required"].append("isbn")


@breaks("enums_are_lower_snake_case", f"{BOOK}/kind", "'Map' is not lower snake case")
def capital_in_an_enum(document: JSON) -> None:
    schema(document, "Book")["kind"] = {"type": "string", "enum": ["book", "Map"], "example": "Map"}


@breaks("enums_are_lower_snake_case", f"{BOOK}/kind", "'-year' is not lower snake case")
def minus_without_its_word(document: JSON) -> None:
    enum = ["title", "-title", "-year"]
    schema(document, "Book")["kind"] = {"type": "string", "enum": enum, "example": "title"}


@breaks(
    "patterns_are_portable",
    f"{BOOK}/code",
    "the pattern '^[a-z]+' is not anchored at both ends",
)
def pattern_without_end(document: JSON) -> None:
    node = {"type": "string", "maxLength": 9, "pattern": "^[a-z]+", "example": "x"}
    schema(document, "Book")["code"] = node


@breaks(
    "patterns_are_portable",
    f"{BOOK}/added_at",
    "the pattern '(?i)Z$' differs between readers",
)
def flag_in_a_pattern_beside_a_format(document: JSON) -> None:
    schema(document, "Book")["added_at"]["pattern"] = "(?i)Z$"


@breaks(
    "patterns_are_portable",
    f"{BOOK}/code",
    r"the pattern '^\\p{L}+$' differs between readers",
)
def pattern_with_unicode_class(document: JSON) -> None:
    node = {"type": "string", "maxLength": 9, "pattern": r"^\p{L}+$", "example": "x"}
    schema(document, "Book")["code"] = node


@breaks("strings_are_bounded", f"{BOOK}/note", "there is no maxLength")
def string_without_end(document: JSON) -> None:
    schema(document, "Book")["note"] = {"type": "string", "format": "uri", "example": "http://x/"}


@breaks("strings_are_bounded", f"{BOOK}/subjects/items", "there is no maxLength")
def item_without_end(document: JSON) -> None:
    del schema(document, "Book")["subjects"]["items"]["maxLength"]


@breaks("numbers_are_bounded", f"{BOOK}/pages", "there is no maximum")
def number_without_maximum(document: JSON) -> None:
    schema(document, "Book")["pages"] = {"type": "integer", "minimum": 1, "example": 3}


@breaks("numbers_are_bounded", f"{ADDED}/schema", "there is no minimum and no maximum")
def parameter_without_bounds(document: JSON) -> None:
    parameter(document, schema={"type": "number", "example": 3})


@breaks("arrays_are_bounded", f"{BOOK}/subjects", "there is no maxItems")
def array_without_end(document: JSON) -> None:
    del schema(document, "Book")["subjects"]["maxItems"]


@breaks("arrays_are_bounded", f"{BOOK}/subjects", "there is no items")
def array_of_anything(document: JSON) -> None:
    del schema(document, "Book")["subjects"]["items"]


@breaks("maps_are_bounded", f"{BOOK}/copies", "there is no maxProperties")
def map_without_end(document: JSON) -> None:
    del schema(document, "Book")["copies"]["maxProperties"]


@breaks("components_are_used", "/components/schemas/Spare", "no operation uses it")
def unused_schema(document: JSON) -> None:
    document["components"]["schemas"]["Spare"] = {"type": "boolean", "example": True}


@breaks("components_are_used", "/components/securitySchemes/Basic", "no operation uses it")
def unused_security_scheme(document: JSON) -> None:
    document["components"]["securitySchemes"]["Basic"] = {"type": "http", "scheme": "basic"}


@breaks("schemas_do_not_recurse", "/components/schemas/Publisher", "it contains itself")
def recursive_schema(document: JSON) -> None:
    schema(document, "Publisher")["parent"] = {"$ref": "#/components/schemas/Publisher"}


@breaks("leaves_have_examples", f"{BOOK}/subjects", "there is no example")
def array_without_example(document: JSON) -> None:
    del schema(document, "Book")["subjects"]["example"]


@breaks("leaves_have_examples", f"{BOOK}/copies", "there is no example")
def map_without_example(document: JSON) -> None:
    del schema(document, "Book")["copies"]["example"]


@breaks("leaves_have_examples", f"{ADDED}/schema", "there is no example")
def parameter_without_example(document: JSON) -> None:
    parameter(document, schema={"type": "boolean"})


@breaks("leaves_have_examples", "/components/headers/Location/schema", "there is no example")
def header_without_example(document: JSON) -> None:
    del document["components"]["headers"]["Location"]["example"]


@breaks(
    "schema_examples_are_valid",
    f"{BOOK}/added_at/example",
    'the value is not a "date-time"',
)
def example_of_the_wrong_format(document: JSON) -> None:
    schema(document, "Book")["added_at"]["example"] = "yesterday"


@breaks(
    "schema_examples_are_valid",
    f"{BOOK}/price/example",
    "the value is less than or equal to the minimum of 0",
)
def example_on_an_excluded_bound(document: JSON) -> None:
    schema(document, "Book")["price"]["example"] = 0


@breaks(
    "schema_examples_are_valid",
    "/components/parameters/page/schema/default",
    "the value is less than the minimum of 1",
)
def invalid_default(document: JSON) -> None:
    document["components"]["parameters"]["page"]["schema"]["default"] = 0


@breaks(
    "parameter_examples_are_valid",
    f"{ADDED}/example",
    "the value is longer than 100 characters",
)
def invalid_parameter_example(document: JSON) -> None:
    parameter(document, example="x" * 101)


@breaks(
    "parameter_examples_are_valid",
    "/components/headers/Location/example",
    'the value is not of type "string"',
)
def invalid_header_example(document: JSON) -> None:
    document["components"]["headers"]["Location"]["example"] = 1


@breaks(
    "media_type_examples_are_valid",
    "/paths/~1api~1books/post/requestBody/content/application~1json/example/titel",
    "the property is unknown",
)
def unknown_property_in_an_example(document: JSON) -> None:
    content = operation(document, "create_book")["requestBody"]["content"]
    content["application/json"]["example"]["titel"] = "Emma"


@breaks(
    "media_type_examples_are_valid",
    "/paths/~1api~1books/get/responses/200/content/application~1json/examples/page/page",
    "the value is less than the minimum of 1",
)
def invalid_shared_example(document: JSON) -> None:
    document["components"]["examples"]["page"]["value"]["page"] = 0


def test_the_good_contract_has_no_findings() -> None:
    assert lint(deepcopy(GOOD)) == []


@pytest.mark.parametrize("name", CASES)
def test_a_breach_gives_exactly_its_finding(name: str) -> None:
    finding, breach = CASES[name]
    document = deepcopy(GOOD)
    breach(document)
    assert lint(document) == [finding]


def test_every_rule_has_a_breach_and_every_breach_a_rule() -> None:
    assert {case.finding.rule for case in CASES.values()} == {rule.name for rule in RULES}


def test_every_rule_is_one_sentence() -> None:
    for rule in RULES:
        assert rule.sentence.endswith("."), rule.name
        assert rule.sentence[0].isupper() or rule.sentence.startswith("`"), rule.name


def test_scopes_that_are_declared_are_good() -> None:
    document = deepcopy(GOOD)
    with_oauth(document)
    assert lint(document) == []


def test_what_only_a_session_may_call_names_no_scope() -> None:
    document = deepcopy(GOOD)
    with_oauth(document)
    schemes = document["components"]["securitySchemes"]
    schemes["Session"] = {"type": "apiKey", "in": "cookie", "name": "id", "description": "Cookie."}
    operation(document, "delete_book")["security"] = [{"Session": []}]
    rules = {finding.rule for finding in lint(document)}
    assert "secured_operations_name_scopes" not in rules


def test_a_document_without_components_is_read() -> None:
    assert lint({"openapi": "3.0.3", "paths": {"/": {}}}) == []
