"""Pages as tests look at them: their elements, with the text of each."""

from dataclasses import dataclass
from html.parser import HTMLParser

import httpx

# These have no end tag.
_VOID = ("meta", "link", "input")


@dataclass
class Element:
    """An element: its name, its attributes, and all the text in it."""

    name: str
    attributes: dict[str, str | None]
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs)
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


class Html:
    """An answer that is a page; it must be well-formed."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        reader = _Reader()
        reader.feed(response.text)
        reader.close()
        assert reader._open == []
        self._elements = reader.elements

    def all(self, tag: str, /, **attributes: str) -> list[Element]:
        """The elements with this name and these attributes."""
        return [
            element
            for element in self._elements
            if element.name == tag and attributes.items() <= element.attributes.items()
        ]

    def texts(self, tag: str, /, **attributes: str) -> list[str]:
        """What stands in these elements."""
        return [" ".join(element.text.split()) for element in self.all(tag, **attributes)]

    def fields(self) -> dict[str, str]:
        """The names and values of the form's fields, as a browser would send them."""
        inputs = [element.attributes for element in self.all("input")]
        return {str(each["name"]): str(each.get("value", "")) for each in inputs}
