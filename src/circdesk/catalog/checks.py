"""What the contract cannot say of a book's identifiers, for filters, keys and bodies alike."""

from typing import Any

from circdesk.catalog.identifiers import InvalidIsbnError, language_code, normalize_isbn
from circdesk.contract.problems import Problem, fault

JSON = dict[str, Any]


class IsbnInvalid(Problem):
    """The digits are no ISBN, most often because one of them is mistyped."""

    code = "isbn_invalid"
    status = 422
    title = "This is not an ISBN."
    advice = (
        "Compare the number with the book. Where only the last digit is wrong, `allowed` has the "
        "ISBN that the others belong to, and `suggestions` the call with it."
    )


class LanguageUnknown(Problem):
    """No language has this code."""

    code = "language_unknown"
    status = 422
    title = "No language has this code."
    advice = "Send a code of ISO 639 with two or three letters, such as `de`, `ger` or `deu`."


def checked_isbn(text: str, operation_id: str, place: str, name: str, prefix: str = "") -> str:
    """The ISBN-13 that a parameter gives, perhaps behind a prefix. Raises IsbnInvalid.

    Args:
        text: The ISBN-10 or ISBN-13, with or without separators.
        operation_id: The operation that is suggested with the right ISBN, where there is one.
        place: `path` or `query`.
        name: The parameter's name.
        prefix: What stands before the ISBN in the parameter, such as `isbn:`.
    """
    try:
        return normalize_isbn(text)
    except InvalidIsbnError as error:
        right = error.suggestion
        suggestions = []
        if right is not None:
            parameters = {name: f"{prefix}{right}"}
            suggestions = [suggestion(operation_id, parameters, reason=_RIGHT_ISBN)]
        details = [isbn_fault(place, f"/{name}", error)]
        raise IsbnInvalid(f"{error}.", details=details, suggestions=suggestions) from None


def isbn_fault(place: str, pointer: str, error: InvalidIsbnError) -> JSON:
    """The entry of `details` for what is no ISBN."""
    return fault(place, pointer, "isbn", str(error), error.suggestion)


def checked_language(text: str) -> str:
    """The code by which the catalogue knows the language of a filter. Raises LanguageUnknown."""
    code = language_code(text)
    if code is None:
        details = [language_fault("query", "/language", text)]
        raise LanguageUnknown(f"{text!r} is no language.", details=details)
    return code


def language_fault(place: str, pointer: str, text: str) -> JSON:
    """The entry of `details` for what is no language."""
    return fault(place, pointer, "language", f"{text!r} is no language of ISO 639")


def suggestion(
    operation_id: str, parameters: JSON, *, reason: str, body: JSON | None = None
) -> JSON:
    """One entry of `suggestions`: a call that would help."""
    call = {"operation_id": operation_id, "parameters": parameters, "reason": reason}
    return call if body is None else {**call, "body": body}


_RIGHT_ISBN = "The check digit is right here; see whether this is the book that was meant."
