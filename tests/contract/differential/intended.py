"""What we mean to do otherwise than stock Connexion, and why."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Intended(NamedTuple):
    """Differences that have one reason.

    Attributes:
        differences: What differs of the verdicts, on requests of which kinds.
    """

    reason: str
    differences: Mapping[str, frozenset[str]]


def _kinds(*kinds: str) -> frozenset[str]:
    return frozenset(kinds)


def _each(kinds: Iterable[str], places: Iterable[str]) -> frozenset[str]:
    return frozenset(kind + place for kind in kinds for place in places)


_CHANGES = ", where something changes"
_CLOSED = (_CHANGES, ", where somebody must be known")
_OPEN = ", where nobody need be known"
_ANYWHERE = ("", "to OAuth: ")
_BAD = (
    "a bad key",
    "a bad token",
    "a bad key by Basic",
    "no token behind its scheme",
    "an unknown scheme",
    "Basic that cannot be read",
)
_BESIDE = ("a bad token beside a good key", "a bad key beside a good token")

INTENDED = (
    Intended(
        "A trailing or a doubled slash makes another path, and there is nothing at it. Connexion"
        " redirects, and takes two at the beginning for one.",
        {
            "ours 404, theirs 307": _each(_ANYWHERE, ["a trailing slash"]),
            "ours 404, theirs 308": _each(_ANYWHERE, ["a doubled slash within"]),
            "ours 404, theirs in": _each(_ANYWHERE, ["a doubled slash"]),
        },
    ),
    Intended(
        "A segment is decoded after the path was split, so that an encoded slash is a part of an"
        " identifier. Connexion splits what was decoded, and finds another path.",
        {"ours 400, theirs 404": _kinds("an encoded slash in a segment")},
    ),
    Intended(
        "A literal path hides one with a parameter in its place (OpenAPI 3.0.3, 4.7.8.2), whatever"
        " the method. Connexion goes on to the next path that takes the method.",
        {
            "ours 405, theirs in": _kinds("a method of a path that another hides"),
            "ours 405, theirs 400": _kinds("a method of a path that another hides"),
        },
    ),
    Intended(
        "OPTIONS is answered with a complete Allow (RFC 9110, 9.3.7). Connexion does not take it.",
        {"ours 204, theirs 405": _each(_ANYWHERE, ["OPTIONS"])},
    ),
    Intended(
        "An answer that the caller does not accept is a 406. Connexion never looks at Accept.",
        {
            "ours 406, theirs in": _kinds(
                "an answer that nobody accepts", "an answer that is refused"
            )
        },
    ),
    Intended(
        "Each credential in a header must be good, also where nobody need be known or where another"
        " is good. Connexion is content with one, and takes a bad one for none.",
        {
            "ours 401, theirs in": _each(_BAD, [_OPEN]) | _each(_BESIDE, (*_CLOSED, _OPEN)),
            "ours 401, theirs 400": _each(["a bad key to a bad query"], [_OPEN]),
        },
    ),
    Intended(
        "Headers of one name are one list (RFC 9110, 5.3), so that a credential that is sent twice"
        " is none. Connexion takes the first.",
        {"ours 401, theirs in": _each(["a good key twice"], (*_CLOSED, _OPEN))},
    ),
    Intended(
        "Scopes bind every credential. Connexion holds access tokens alone against them.",
        {"ours 403, theirs in": _each(["the key of somebody who may not"], _CLOSED)},
    ),
    Intended(
        "The cookie tells who is calling; what is missing is that they mean to, which is a 403."
        " Connexion says that nothing was sent.",
        {"ours 403, theirs 401": _each(["a cookie without its token"], [_CHANGES])},
    ),
    Intended(
        "What cannot be decoded is no text. Connexion puts U+FFFD for what is not UTF-8, leaves the"
        " percent sign of a broken escape, and takes NUL and half a surrogate pair.",
        {
            "ours 400, theirs in": _kinds(
                "a segment that is not UTF-8, of a format",
                "a broken escape in a segment, of a format",
                "NUL in a segment, of a format",
                "a text that is not UTF-8, fitting its pattern",
                "a text that is not UTF-8, of a format",
                "a broken escape in a text, fitting its pattern",
                "a broken escape in a text, of a format",
                "half a surrogate pair in a body, fitting its pattern",
            )
        },
    ),
    Intended(
        "A format is held. Connexion knows those of JSON Schema's draft 4: not uuid, not date, and"
        " not our time-zone.",
        {
            "ours 400, theirs in": _kinds(
                "a wrong segment, of a format",
                "a text with an accent, of a format",
                "a text with a control character, of a format",
                "a word, of a format",
                "a control character in a body, of a format",
                "a word in a body, of a format",
                "nothing for a text in a body, of a format",
            )
        },
    ),
    Intended(
        "The end of a pattern is the end of the text (ECMA-262, which JSON Schema means). In Python"
        " `$` stands before a last line break, too.",
        {
            "ours 400, theirs in": _kinds(
                "a line break behind a text", "a line break behind a text in a body"
            )
        },
    ),
    Intended(
        "Whoever sends a parameter twice may mean either. Connexion takes the last.",
        {"ours 400, theirs in": _kinds("a parameter twice")},
    ),
    Intended(
        "Numbers and booleans are written as in JSON. Connexion takes what int() of Python takes,"
        " and booleans in any case.",
        {
            "ours 400, theirs in": _kinds(
                "a number with a plus sign",
                "a number with a space",
                "a number with an underscore",
                "a number with a leading zero",
                "digits of another script",
                "a boolean in capitals",
            )
        },
    ),
    Intended(
        "1.0 is an integer since draft 6 of JSON Schema; in Connexion's draft 4 it was none.",
        {"ours in, theirs 400": _kinds("a whole fraction in a body")},
    ),
    Intended(
        "A key in the header and another in the query contradict each other; no schema says so.",
        {"ours 400, theirs in": _kinds("two keys for one request")},
    ),
    Intended(
        "A header of the contract is an argument. Connexion hands over none.",
        {"other arguments: idempotency_key": _kinds("a header, idempotency-key")},
    ),
    Intended(
        "A parameter may be called `user`. Connexion puts in its place who is calling.",
        {
            "other arguments: user": _kinds(
                "one parameter, with a user", "every parameter, with a user"
            )
        },
    ),
    Intended(
        "A body has to say what it is. Connexion takes it for the first that the contract names.",
        {"ours 415, theirs in": _kinds("a body of no media type")},
    ),
    Intended(
        "Media types are the same in any case (RFC 9110, 8.3.1). Connexion neither checks nor reads"
        " such a body, and hands over its bytes.",
        {"other arguments: body": _kinds("a body of a media type in capitals")},
    ),
    Intended(
        "JSON is UTF-8 (RFC 8259, 8.1), and what is compressed is not read. Connexion reads other"
        " charsets, and breaks down over bytes that are not of the charset.",
        {
            "ours 415, theirs in": _kinds("a body in another charset"),
            "ours 415, theirs 500": _kinds("a compressed body"),
            "ours 400, theirs 500": _kinds("a body that is not UTF-8"),
        },
    ),
    Intended(
        "A body in chunks is a body. Connexion takes one without Content-Length for none.",
        {
            "ours in, theirs 400": _kinds("a body of unannounced length"),
            "other arguments: body": _kinds("an optional body of unannounced length"),
        },
    ),
    Intended(
        "A body that is not required may be missing. Connexion refuses an empty one that says its"
        " media type.",
        {"ours in, theirs 400": _kinds("no optional body")},
    ),
    Intended(
        "Bodies have a limit. Connexion reads them whole, however long.",
        {"ours 413, theirs in": _kinds("a body that is too long")},
    ),
    Intended(
        "Of a key that stands twice one reader takes the first value and another the last.",
        {"ours 400, theirs in": _kinds("a key that stands twice")},
    ),
    Intended(
        "OAuth's endpoints (`x-lenient`) read requests by their own rules: the handler gets them as"
        " they are, and ignores unknown parameters (RFC 6749, 3.2).",
        {
            "other arguments: body": _each(
                ["to OAuth: "],
                (
                    "as documented",
                    "an encoded letter in the path",
                    "an answer that nobody accepts",
                    "an answer that is refused",
                    "an answer that is accepted",
                ),
            ),
            "ours in, theirs 400": _kinds("to OAuth: an unknown parameter"),
        },
    ),
)
