"""Text from files of strangers, made safe to show in a terminal."""

LONGEST = 200  # characters of one value in a message


def printable(text: object, longest: int = LONGEST) -> str:
    """Return `text` with control characters (escape sequences, line breaks, marks of direction) as escapes, cut to `longest` characters."""
    shown = str(text)[: longest + 1]
    escaped = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shown)
    return escaped if len(shown) <= longest else f"{escaped[:longest]}..."


def printable_lines(text: str) -> str:
    """Return a message of several lines with the control characters of every line as escapes."""
    return "\n".join(printable(line, len(line)) for line in text.split("\n"))
