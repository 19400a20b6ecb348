"""Whatever a stranger names, no control character, markup or invisible character reaches a terminal or a log."""

import io
import logging
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import plain_release
from rich.console import Console

from brainldm.core.findings import error
from brainldm.core.printable import PrintableFormatter, printable, printable_lines
from brainldm.formats.findings_table import show
from brainldm.formats.release_check import check

HOSTILE = "[red]a[/red] [link=http://x]b[/link] \x1b[2J\x1b]0;owned\x07 \x9b31m \u202e \u200b \r\n\x00 \ud800 \ufeff \U000e0041"


def test_any_text_prints_on_one_line() -> None:
    draw = random.Random(0)
    for _ in range(2000):
        text = "".join(chr(draw.randrange(0x110000) if draw.random() < 0.5 else draw.randrange(0x300)) for _ in range(20))
        shown = printable(text)
        assert shown.isprintable()
        assert printable(shown) == shown
        assert printable_lines(text).replace("\n", "").isprintable()
        if text.isprintable():
            assert shown == text
    assert printable("x" * 1000) == "x" * 300 + "..."
    assert all(unicodedata.category(one)[0] != "C" for one in printable(HOSTILE))


def test_findings_are_shown_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=400, force_terminal=True, color_system="truecolor")
    show([error(HOSTILE, HOSTILE, HOSTILE, HOSTILE)], console)
    text = console.file.getvalue()
    assert text.count("[red]a[/red] [link=http://x]b[/link]") == 5
    for character in ("\x07", "\x1b[2J", "\x1b]", "\x9b", "\u202e", "\u200b", "\r", "\x00", "\ud800"):
        assert character not in text


def test_a_log_is_printable_with_its_traceback() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("%s", HOSTILE)
    assert stream.getvalue().replace("\n", "").isprintable()
    assert "Traceback" in stream.getvalue()


def test_the_commands_print_no_escape_of_a_release(tmp_path: Path) -> None:
    folder = plain_release.make(tmp_path / "\x1b]0;owned\x07[red]x[bold]\u202e")
    (folder / "README.md").unlink()
    done = subprocess.run([sys.executable, "-m", "brainldm", "get", folder, "-o", tmp_path / "part"], capture_output=True, check=False)
    assert done.returncode == 1
    said = (done.stdout + done.stderr).decode()
    assert "[red]x[bold]" in said
    assert "README.md" in said
    assert "Traceback" not in said
    for character in ("\x1b]", "\x07", "\x1b[2J", "\u202e"):
        assert character not in said
    (folder / "\x1b[2Jlink").symlink_to("/etc/hostname")
    found = next(finding for finding in check(folder) if finding.found == "a symbolic link")
    assert found.check == "\\x1b[2Jlink"
