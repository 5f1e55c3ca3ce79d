"""What can be wrong with a request's first line and its headers: method, path, Accept."""

from collections.abc import Iterator
from urllib.parse import unquote

from tests.contract.differential.examples import DOCUMENT, operations, parameters_of, rule_of
from tests.contract.differential.requests import JSON, Request

_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")


def lines(request: Request) -> Iterator[Request]:
    """The request with another method, another path, or another word about what it accepts."""
    yield from _methods(request)
    yield from _paths(request)
    for parameter in parameters_of(request.operation, "path"):
        for kind, segment in _segments(parameter["schema"]):
            path = request.operation.path.replace(f"{{{parameter['name']}}}", segment)
            if "{" not in path:
                yield request.but(kind=kind, path=path)
    yield from _headers(request)


def _methods(request: Request) -> Iterator[Request]:
    taken = DOCUMENT["paths"][request.operation.path]
    for method in _METHODS:
        if method.lower() not in taken:
            hidden = method in _methods_of(request.path)
            kind = "a method of a path that another hides" if hidden else "another method"
            yield request.but(kind=kind, method=method)
    yield request.but(kind="an unknown method", method="BREW")
    yield request.but(kind="a method in lower case", method=request.method.lower())
    yield request.but(kind="OPTIONS", method="OPTIONS")
    if request.method == "GET":
        yield request.but(kind="HEAD", method="HEAD")


def _methods_of(path: str) -> set[str]:
    """The methods of every path that this may be meant for, whichever of them is the right one."""
    segments = path.split("/")
    return {
        operation.method
        for operation in operations()
        if len(names := operation.path.split("/")) == len(segments)
        and all(n.startswith("{") or n == s for n, s in zip(names, segments, strict=True))
    }


def _paths(request: Request) -> Iterator[Request]:
    path = request.path
    yield request.but(kind="an unknown path", path=f"{path}/no/such/thing")
    yield request.but(kind="a path in capitals", path=path.upper())
    yield request.but(kind="a trailing slash", path=f"{path}/")
    yield request.but(kind="a doubled slash", path=f"/{path}")
    if path.count("/") > 1:
        inner = path[::-1].replace("/", "//", 1)[::-1]
        yield request.but(kind="a doubled slash within", path=inner)
    encoded = f"/%{ord(path[1]):02X}{path[2:]}"
    yield request.but(kind="an encoded letter in the path", path=encoded)


def _segments(schema: JSON) -> Iterator[tuple[str, str]]:
    for kind, segment in (
        ("a wrong segment", "%21"),
        ("a segment that is too long", "a" * (schema["maxLength"] + 1)),
        ("a segment that is not UTF-8", "%FF"),
        ("a broken escape in a segment", "%zz"),
        ("NUL in a segment", "a%00"),
    ):
        yield f"{kind}, {rule_of(schema, unquote(segment))}", segment
    yield "an encoded slash in a segment", "a%2Fb"


def _headers(request: Request) -> Iterator[Request]:
    for media_type in sorted(request.operation.produces):
        refused = f"{media_type};q=0"
        yield request.but(kind="an answer that nobody accepts").with_headers(accept="image/png")
        yield request.but(kind="an answer that is refused").with_headers(accept=refused)
        accepted = f"text/html, {media_type.partition('/')[0]}/*;q=0.5"
        yield request.but(kind="an answer that is accepted").with_headers(accept=accepted)
    for parameter in parameters_of(request.operation, "header"):
        name, schema = parameter["name"].lower(), parameter["schema"]
        right = request.but(kind=f"a header, {name}")
        yield right.with_headers(**{name: parameter["example"]})
        long = "a" * (schema["maxLength"] + 1)
        yield right.but(kind="a header that is too long").with_headers(**{name: long})
        if "pattern" in schema:
            yield right.but(kind="a header against its pattern").with_headers(**{name: "a b"})
