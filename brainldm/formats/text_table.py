"""The one reader of tables that people made: cells as texts, rows by the number of their line, nothing guessed in silence.

Participants, sessions, manifests, tables with a mapping, requests and the table of `score` all come through `read_texts`.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from brainldm.core.errors import DataError
from brainldm.core.regular_files import MOST_TEXT, open_regular, read_all
from brainldm.formats.pointers import link_remedy, pointer_remedy

MISSING = frozenset(
    ["", "n/a", "na", "nan", "-nan", "none", "null", "<na>", "#n/a", "#na", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"]
)  # in any case of letters; those of pandas
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # by their byte order marks
OTHER_KINDS = {
    b"PK\x03\x04": "a spreadsheet or an archive",
    b"\xd0\xcf\x11\xe0": "a spreadsheet",
    b"\x1f\x8b": "a compressed file",
    b"PAR1": "a Parquet table",
}  # by their first bytes
SHOWN = 12  # names of columns in a message

Record = tuple[int, list[str]]  # the number of its first line, its cells


class Layout(NamedTuple):
    """The header: names, cells (with empty ones at its end), where the columns asked for stand, whether cells may be quoted."""

    names: list[str]
    width: int
    places: dict[str, int]
    quoted: bool


class Texts(NamedTuple):
    """Cells of a table, stripped, None where a value is missing; the index holds the numbers of lines.

    `broken` says, by line, why the cells of a line cannot be trusted: nothing of such a line may be used.
    `header` holds the names of all columns.
    """

    table: pd.DataFrame
    broken: dict[int, str]
    header: list[str]


def read_texts(path: Path, required: Iterable[str], optional: Iterable[str] = ()) -> Texts:
    """Read columns of a CSV or TSV under the names asked for; case does not count in a column's name.

    A TSV (by its name, or because tabs separate its header) knows no quotation marks; any other table may quote cells as CSV does.
    Lines of blank cells are skipped, empty cells beyond the header's at a line's end are ignored.
    DataError if there is no table, its text cannot be decoded, or a column is missing or stands there twice.
    """
    text = _decoded(path)
    separator = _separator(path, text)
    quoted = path.suffix.lower() != ".tsv" and (separator != "\t" or path.suffix.lower() == ".csv")
    records = _quoted_records(path, text, separator) if quoted else _plain_records(text, separator)
    _, header = next(records, (1, []))
    names = _without_empty_end([name.strip() for name in header])
    places = _places(path, names, [*required], [*optional], quoted)
    layout = Layout(names, len(header), places, quoted)
    rows: dict[int, list[str | None]] = {}
    broken: dict[int, str] = {}
    for line, cells in records:
        if not any(cell.strip() for cell in cells):
            continue
        if fault := _fault(cells, layout):
            broken[line] = fault
        rows[line] = [_value(cells[place]) if place < len(cells) else None for place in places.values()]
    index = pd.Index(list(rows), dtype="int64")
    return Texts(pd.DataFrame(list(rows.values()), index=index, columns=list(places), dtype=object), broken, names)


def _value(cell: str) -> str | None:
    text = cell.strip()
    return None if text.casefold() in MISSING else text


def _decoded(path: Path) -> str:
    """Return the text of a file; DataError with the remedy where it is none, or not in UTF-8 or UTF-16."""
    if not path.exists():
        raise DataError(f"{path}: expected a table, found none (No such file or directory){link_remedy(path)}")
    content = read_all(open_regular(path, "table"), path, MOST_TEXT)
    if remedy := pointer_remedy(content):
        raise DataError(f"{path} holds a pointer to its content only. {remedy}.")
    for start, kind in OTHER_KINDS.items():
        if content.startswith(start):
            raise DataError(f"{path} is {kind}, no table in text. Save it as CSV or TSV and name that file.")
    encoding = next((name for mark, name in ENCODINGS.items() if content.startswith(mark)), "utf-8")
    if encoding != "utf-16" and b"\0" in content:
        raise DataError(_no_text(path, content, content.index(b"\0")))
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + len(re.findall(rb"\r\n|\r|\n", content[: error.start]))
        remedy = "Save the table as UTF-8 (in a spreadsheet: CSV UTF-8; in a shell: iconv -f LATIN1 -t UTF-8)."
        found = f"byte 0x{content[error.start]:02x}" if encoding == "utf-8" else "bytes"
        raise DataError(f"{path}, line {line}: {found} of another encoding than {encoding.upper()}. {remedy}") from None
    if "\0" in text:
        raise DataError(_no_text(path, content, len(text[: text.index("\0")].encode(encoding))))
    return text


def _no_text(path: Path, content: bytes, place: int) -> str:
    """Return what to say of a file with a NUL byte at a place."""
    line = 1 + len(re.findall(rb"\r\n|\r|\n", content[:place]))
    remedy = "The file is damaged, or UTF-16 without its mark; save it as UTF-8."
    return f"{path}, line {line}: a NUL byte, as no text has. {remedy}"


def _separator(path: Path, text: str) -> str:
    """Return what separates the cells of the header: tabs in a .tsv, else what stands there most often outside quotation marks."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text, maxsplit=1)[0])
    counts = {separator: header.count(separator) for separator in SEPARATORS}
    most = max(counts.values())
    best = [separator for separator, count in counts.items() if count == most]
    if most and len(best) > 1:
        found = " and ".join(SEPARATORS[separator] for separator in best)
        raise DataError(f"{path}: its header has as many {found}; which of them separate columns cannot be known. Use one of them alone.")
    return best[0] if most else ","


def _plain_records(text: str, separator: str) -> Iterator[Record]:
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        yield number, line.split(separator)


def _quoted_records(path: Path, text: str, separator: str) -> Iterator[Record]:
    """Records of a CSV; DataError for quotation marks that do not close, or that take whole lines into one cell."""
    reader = csv.reader(re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text), delimiter=separator, strict=True)
    width = 0
    first = 1
    try:
        for cells in reader:
            width = width or len(cells)
            if reader.line_num > first:
                _check_swallowed(path, first, reader.line_num, cells, separator, width)
            yield first, cells
            first = reader.line_num + 1
    except csv.Error as error:
        remedy = "Close or remove the quotation mark; within a quoted cell, double it."
        raise DataError(f"{path}, line {first}: a quotation mark there does not enclose a cell ({error}). {remedy}") from None


def _check_swallowed(path: Path, first: int, last: int, cells: list[str], separator: str, width: int) -> None:
    """DataError if a cell of several lines holds about as many separators as whole rows do: a quotation mark was left open before."""
    several = [re.split(r"\r\n|\r|\n", cell) for cell in cells if re.search(r"[\r\n]", cell)]
    separators = sum(line.count(separator) for lines in several for line in lines)
    begun = sum(1 for lines in several for line in lines[1:] if line.strip())
    if begun and separators >= begun * max(width - 2, 1):  # rows may be too short themselves
        raise DataError(
            f"{path}, line {first}: a quotation mark opens there and closes on line {last}, and whole rows lie between. "
            "Close or remove it; rows must not vanish in a cell."
        )


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def _places(path: Path, names: list[str], required: list[str], optional: list[str], quoted: bool) -> dict[str, int]:
    """Return where each column stands that is asked for; DataError for one that is missing or there twice."""
    by_name: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        by_name.setdefault(name.casefold(), []).append(place)
    wanted = list(dict.fromkeys([*required, *optional]))
    twice = [names[place] for name in wanted for place in by_name.get(name.casefold(), [])[:4] if len(by_name[name.casefold()]) > 1]
    if twice:
        remedy = "Rename or remove all but one."
        raise DataError(f"{path}: the columns {', '.join(twice)} have one name; which is meant cannot be known. {remedy}")
    missing = [name for name in required if name.casefold() not in by_name]
    if missing:
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        raise DataError(f"{path}: expected the column(s) {', '.join(missing)}, found {shown or 'nothing'}{_header_hint(names, quoted)}")
    return {name: by_name[name.casefold()][0] for name in wanted if name.casefold() in by_name}


def _header_hint(names: list[str], quoted: bool) -> str:
    if not quoted and any(name.startswith('"') for name in names):
        return ". A TSV knows no quotation marks: write it without them, or call it .csv."
    if not quoted and len(names) == 1 and re.search("[,;]", names[0]):
        return ". A .tsv separates its columns by tabs: save it so (a table of your own may be called .csv)."
    return ""


def _fault(cells: list[str], layout: Layout) -> str | None:
    """Return why the cells of a line cannot be trusted, or None."""
    n_names = len(layout.names)
    n_cells = max(len(_without_empty_end(cells)), min(len(cells), n_names))
    if n_cells != n_names:
        kind = "longer" if n_cells > n_names else "shorter"
        remedy = "Correct the line; a value that is missing is n/a."
        return f"the line is {kind} than the header: {n_cells} cells, the header has {n_names}. {remedy}"
    if len(cells) > layout.width and not all(cell.strip() for cell in cells[:n_names]):
        return "the line has an empty cell too many, and where cannot be known. Remove it; a value that is missing is n/a."
    used = {name: cells[place].strip() for name, place in layout.places.items()}
    marked = next((name for name, cell in used.items() if cell.startswith('"') or cell.endswith('"')), None)
    if marked is None:
        return None
    remedy = "Remove blanks before the first of them." if layout.quoted else "A TSV knows none: remove them, or call it .csv."
    return f"{marked}: {used[marked]} has quotation marks. {remedy}"
