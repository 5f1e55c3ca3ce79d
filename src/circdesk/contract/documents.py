"""The contract as a document: read from its files, bundled into one that stands alone.

The files under `openapi/` use ordinary relative references, so any OpenAPI tool can read
them. The bundle keeps component names: each reference into `components/<kind>.yaml` or
`components/<kind>/<file>.yaml` becomes `#/components/<kind>/<name>`; what else is
referenced (path items) is put in its place.
"""

import re
from collections.abc import Hashable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.error import MarkedYAMLError
from yaml.reader import ReaderError

from circdesk.contract.traits import apply_traits

JSON = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "patch")


class ContractError(Exception):
    """The contract is wrong; the message is one line that names the file and the operation."""


class _Loader(yaml.CSafeLoader):
    """YAML as JSON means it: no dates, no `no` for False, no base-60 numbers, no twin keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  The signature is PyYAML's.
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise MarkedYAMLError(None, None, "a key that is no text", key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {key_node.value!r} stands twice"
                raise MarkedYAMLError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
            # A status such as 200 and a word such as `true` are texts where they are keys.
            key_node.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", "-0123456789"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


class Bundle(NamedTuple):
    """The bundled document, and for each path the file that its item stands in."""

    document: JSON
    sources: dict[str, str]


def load_bundle(root: Path) -> Bundle:
    """Read `openapi.yaml` in `root` and everything that it refers to, as one document.

    Raises:
        ContractError: A file is missing or is not YAML, or a reference leads nowhere or in a
            circle.
    """
    return _Bundler(root).bundle()


class _Bundler:
    """One walk over the files; every node is copied once, with its references rewritten."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.read = cache(self._read)
        # Thousands of references name some hundred files, and looking for one takes 0.1 ms.
        self.locate = cache(self._locate)
        # The references that are being followed, to tell a circle from a long way.
        self._following: list[tuple[Path, str]] = []

    def bundle(self) -> Bundle:
        main = self.root / "openapi.yaml"
        document: JSON = self._rewrite(self.read(main), main)
        sources = {
            path: f"{self.root.name}/{_reference(item).partition('#')[0] or main.name}"
            for path, item in _mapping(self.read(main).get("paths")).items()
        }
        components = document["components"] = _mapping(document.get("components"))
        for file in sorted((self.root / "components").rglob("*.yaml")):
            named = components.setdefault(self._kind(file), {})
            for name, node in self.read(file).items():
                if name in named:
                    raise ContractError(f"{self._show(file)}: a second component named {name!r}")
                named[name] = self._rewrite(node, file)
        apply_traits(document, [*find_operations(document)])
        for reference in dict.fromkeys(_references(document)):
            try:
                resolve(document, {"$ref": reference})
            except ContractError as error:
                raise ContractError(f"{self._show(main)}: {error}") from None
        return Bundle(document, sources)

    def _read(self, file: Path) -> JSON:
        try:
            with file.open("rb") as stream:
                content = yaml.load(stream, _Loader)  # noqa: S506  The loader is a safe one.
        except OSError as error:
            raise ContractError(f"{self._show(file)}: {error.strerror}") from error
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            raise ContractError(f"{self._show(file)}:{line}: {error.problem}") from error
        except ReaderError as error:
            raise ContractError(f"{self._show(file)}: {error.reason}") from error
        if not isinstance(content, dict):
            raise ContractError(f"{self._show(file)}: the file is not a mapping")
        return content

    def _rewrite(self, node: Any, file: Path) -> Any:
        if isinstance(node, list):
            return [self._rewrite(item, file) for item in node]
        if not isinstance(node, dict):
            return node
        if _reference(node):
            return self._follow(node["$ref"], file)
        return {key: self._rewrite(value, file) for key, value in node.items()}

    def _follow(self, reference: str, file: Path) -> Any:
        place, _, pointer = reference.partition("#/")
        try:
            target, base = self.locate(file, place)
            if base == "#":
                return {"$ref": f"#/{pointer}"}
            node = _find(self.read(target), pointer)
        except LookupError:
            raise ContractError(f"{self._show(file)}: {reference!r} leads nowhere") from None
        if base:
            return {"$ref": f"{base}/{pointer}"}
        if (target, pointer) in self._following:
            raise ContractError(f"{self._show(file)}: {reference!r} leads in a circle")
        self._following.append((target, pointer))
        put_in_place = self._rewrite(node, target)
        self._following.pop()
        return put_in_place

    def _locate(self, file: Path, place: str) -> tuple[Path, str]:
        """The file that `place` means in another one, and what the bundle refers to it by.

        That is empty where a referenced part is put in place. Raises LookupError for no file.
        """
        target = (file.parent / place).resolve() if place else file
        if target == self.root / "openapi.yaml":
            return target, "#"
        if not target.is_relative_to(self.root) or not target.is_file():
            raise LookupError(place)
        if target.is_relative_to(self.root / "components"):
            return target, f"#/components/{self._kind(target)}"
        return target, ""

    def _kind(self, file: Path) -> str:
        """The component kind that a file holds: its folder or its own name under `components`."""
        return file.relative_to(self.root / "components").parts[0].removesuffix(".yaml")

    def _show(self, file: Path) -> str:
        return f"{self.root.name}/{file.relative_to(self.root)}"


def find_operations(document: JSON) -> Iterator[tuple[str, str, JSON]]:
    """Path, method and operation object of every operation, in the contract's order."""
    for path, item in _mapping(document.get("paths")).items():
        for method in METHODS:
            if method in _mapping(item):
                yield path, method, item[method]


def resolve(document: JSON, node: JSON) -> JSON:
    """The node itself or, where it is a `$ref` into this document, what it refers to.

    Raises:
        ContractError: The reference leads nowhere or in a circle.
    """
    passed = []
    while reference := _reference(node):
        if reference in passed:
            raise ContractError(f"{reference!r} leads in a circle")
        passed.append(reference)
        try:
            node = _find(document, reference.removeprefix("#/"))
        except LookupError:
            raise ContractError(f"{reference!r} leads nowhere") from None
    return node


def _find(node: Any, pointer: str) -> Any:
    """What a JSON Pointer (RFC 6901), without its first slash, leads to; or a LookupError."""
    for step in pointer.split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        node = (
            node[int(name)] if isinstance(node, list) and name.isdecimal() else _mapping(node)[name]
        )
    return node


def _reference(node: Any) -> str:
    """Where the node refers to, or an empty text."""
    reference = node.get("$ref") if isinstance(node, dict) else None
    return reference if isinstance(reference, str) else ""


def _references(node: Any) -> Iterator[str]:
    """Every reference in the node."""
    if reference := _reference(node):
        yield reference
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from _references(child)


def _mapping(node: Any) -> JSON:
    """The node, or an empty mapping: whether it should be one is for the validator to say."""
    return node if isinstance(node, dict) else {}


def with_addresses(document: JSON, public_url: str) -> JSON:
    """The document with OAuth's addresses made absolute, as OpenAPI asks of them.

    In the files they are paths, since nobody knows there where the service will be reached.
    """
    components = document["components"]
    schemes = {
        name: {**scheme, "flows": _absolute_flows(scheme["flows"], public_url)}
        if scheme["type"] == "oauth2"
        else scheme
        for name, scheme in components.get("securitySchemes", {}).items()
    }
    return {**document, "components": {**components, "securitySchemes": schemes}}


def _absolute_flows(flows: JSON, public_url: str) -> JSON:
    return {
        name: {
            key: public_url + value if key.endswith("Url") else value for key, value in flow.items()
        }
        for name, flow in flows.items()
    }
