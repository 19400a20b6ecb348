"""Texts from strangers, made safe to print: no escape sequence, line break or invisible character reaches a terminal or a log."""

import logging

MOST_CHARACTERS = 300  # of a name or value in an error; the rest is cut


def printable(text: object, most: int = MOST_CHARACTERS) -> str:
    r"""Return `text` on one line, what does not print as \x1b, \n or \u202e, cut after `most` characters.

    Printable is what `str.isprintable` says: no control, format or surrogate characters, and of the separators only the space.
    """
    whole = str(text)
    shown = "".join(map(_shown, whole[:most]))
    return shown if len(whole) <= most else f"{shown}..."


def printable_lines(text: object) -> str:
    """Return `text` with its line breaks kept and every other character made printable; of any length."""
    return "\n".join("".join(map(_shown, line)) for line in str(text).split("\n"))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class PrintableFormatter(logging.Formatter):
    """Formats log records, tracebacks included, so that no text in them can drive the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text, printable."""
        return printable_lines(super().format(record))
