"""The text of a condition: cut into tokens, and shown with a caret under a fault."""

import re
from typing import NamedTuple, NoReturn

from brainldm.core.errors import DataError

MAX_CHARACTERS = 100_000
SHOWN = 60  # characters of the text on each side of a fault

WORDS = frozenset({"and", "or", "not", "in", "is", "null", "none", "true", "false"})
ALLOWED = "Use columns, numbers, texts, comparisons, in, is null, and, or, not, and parentheses."
_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"""|(?P<text>'(?:[^'\\]|\\['"\\])*'|"(?:[^"\\]|\\['"\\])*")"""
    r"|(?P<mark>[=!<>]=|[<>()\[\],&|~-])"
)
_NO_END = "The text does not end, or a backslash stands before something else than a quotation mark or a backslash."
_HINTS = {
    "=": "Write == to compare.",
    "!": "Write not, or != to compare.",
    ".": "Columns have no parts.",
    "`": "Write column names without quotation marks.",
    "@": "Write the value itself: variables are not known here.",
    "'": _NO_END,
    '"': _NO_END,
}


class Token(NamedTuple):
    """A piece of a condition: a number, name, text, mark, word (in lower case) or the end, and where it starts."""

    kind: str
    text: str
    start: int


def tokens(where: str) -> list[Token]:
    """Return the tokens of a condition, an end last; DataError for characters that no condition has."""
    if len(where) > MAX_CHARACTERS:
        fail(where, MAX_CHARACTERS, f"it has {len(where):,} characters", f"At most {MAX_CHARACTERS:,} are read.")
    found = []
    place = _after_space(where, 0)
    while place < len(where):
        match = _TOKEN.match(where, place)
        if match is None:
            fail(where, place, "this is no part of a condition", _HINTS.get(where[place], ALLOWED))
        kind = str(match.lastgroup)
        text = match.group()
        follows = where[match.end() : match.end() + 1]
        if kind == "number" and (follows.isalnum() or follows in ("_", ".")):
            fail(where, place, "this is no number", "Write numbers as 70, 70.5 or 7e1.")
        if kind == "name" and text.lower() in WORDS:
            found.append(Token("word", text.lower(), place))
        else:
            found.append(Token(kind, text, place))
        place = _after_space(where, match.end())
    return [*found, Token("end", "", len(where))]


def fail(where: str, start: int, fault: str, remedy: str = "") -> NoReturn:
    """Raise a DataError that says what is wrong and shows the condition with a caret under the character at `start`."""
    raise DataError(f"Cannot use the condition: {fault}. {remedy}".rstrip() + "\n" + _marked(where, start))


def shown(text: str, n: int = SHOWN) -> str:
    """Return at most `n` characters of a text, in ASCII."""
    return "".join(map(_printable, text[:n])) + ("..." if len(text) > n else "")


def _after_space(where: str, place: int) -> int:
    found = _SPACE.match(where, place)
    return place if found is None else found.end()


def _marked(text: str, start: int) -> str:
    first = max(0, start - SHOWN)
    before = ("..." if first else "") + shown(text[first:start])
    after = shown(text[start:])
    return f"  {before}{after}\n  {' ' * len(before)}^"


def _printable(character: str) -> str:
    """A character in ASCII, so that control characters and look-alikes are seen for what they are."""
    return character if " " <= character <= "~" else character.encode("unicode_escape").decode("ascii")
