"""Tables as people write them, drawn at random, each with the truth: what every line means, or that it must not be believed.

The truth is made before the text: no reader is asked what a text means.
"""

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

FAULT = "fault"  # the meaning of a cell that must be refused, by the number of its line
EITHER = "either"  # the meaning of a line that may be refused, or read as it is meant
SCANS = [f"scan{index}.nii.gz" for index in range(8)]
MISSING = ["n/a", "", " n/a", "NA", "NaN ", "null", "N/A"]
NO_NUMBERS = ["6_5", "65,3", "89+", ">89", "065Y", "inf", "nan0", "0x41", "\uff16\uff15", "65 years", "'65", "1 000", "60-65", "1950-01-31"]
UNITS = {
    "years": (1, ["years", "Years", "yr", "y", "year"]),
    "months": (12, ["months", "Month", "mo", "age in months"]),
    "weeks": (365.25 / 7, ["weeks", "wk", "Weeks."]),
    "days": (365.25, ["days", "d", "Day(s)".replace("(s)", "s")]),
}
UNKNOWN_UNITS = ["decades", "gestational weeks", "z-score", "minutes"]
NOTES = ["fine", "", "na\u00efve", "a 'quoted' word", 'he said "no"', "n/a", "3", "\u2028line", "tab\u000bbed"]
SEXES = {"F": ["F", "f", "female", " Female", "woman"], "M": ["M", "m", "male ", "MALE", "man"]}


@dataclass
class Made:
    """A table's bytes and name, the JSON beside it, and what it means: by line a dictionary, FAULT or EITHER; None if all is refused."""

    content: bytes
    suffix: str
    sidecar: dict[str, Any] | None
    truth: dict[int, Any] | None
    classes: list[str] = field(default_factory=list)


def make(seed: int, columns: list[str], is_tsv: bool = False, strict_sex: bool = False, whole: bool = False) -> Made:
    """A table with these columns, of participant_id, t1w, age, age_years, sex, session, split, ventricles_ml, brain_ml, and others.

    `is_tsv`: of that kind alone; `strict_sex`: sexes are F and M, as in a manifest; `whole`: no volume may be missing.
    """
    rng = Random(seed)
    kinds = [("\t", ".tsv"), ("\t", ".tsv"), (",", ".csv"), (";", ".csv"), ("\t", ".txt"), (";", ".txt")]
    separator, suffix = rng.choice(kinds[:1] if is_tsv else kinds)
    is_quoted = separator != "\t"
    names = [*columns, "note", *rng.sample(["score", "group", "site"], rng.randint(0, 2))]
    rng.shuffle(names)
    unit = rng.choice(["years"] * 4 + list(UNITS)) if "age" in names else "years"
    has_levels = rng.random() < 0.3 and not strict_sex
    rows = [_row(rng, names, index, unit, has_levels, strict_sex) for index in range(rng.randint(1, 7))]
    if whole:
        rows = [{name: (text, FAULT if meant is None else meant) for name, (text, meant) in row.items()} for row in rows]
    cells = [[rng.choice(["{}", "{}", "{}", " {}", "{} "]).format(text) for text, _ in row.values()] for row in rows]
    truth: dict[int, Any] = {}
    made = Made(b"", suffix, _sidecar(rng, names, unit, has_levels), truth)
    lines: list[str] = [_line([_cased(rng, name) for name in names], separator, is_quoted)]
    number = 2
    for row, texts in zip(rows, cells, strict=True):
        meaning: Any = {name: meant for name, (_, meant) in row.items()}
        if FAULT in meaning.values():
            meaning = FAULT
        line, meaning = _damaged_line(rng, texts, meaning, separator, is_quoted, made)
        while rng.random() < 0.1:
            lines.append(rng.choice(["", separator * (len(names) - 1), "  "]))
            number += 1
        truth[number] = meaning
        lines.append(line)
        number += line.count("\n") + 1
    _finish(rng, made, lines, separator, is_quoted, names)
    return made


def _row(rng: Random, names: list[str], index: int, unit: str, has_levels: bool, strict_sex: bool) -> dict[str, tuple[str, Any]]:
    row = {name: _cell(rng, name, index, unit, has_levels) for name in names}
    if strict_sex and row["sex"][1] in ("F", "M"):
        row["sex"] = (row["sex"][1], row["sex"][1])
    return row


def _cell(rng: Random, name: str, index: int, unit: str, has_levels: bool) -> tuple[str, Any]:
    """The text of a cell and what it means."""
    odd = rng.random()
    if name == "participant_id":
        return f"sub-{index:03d}", f"sub-{index:03d}"
    if name == "session_id":
        return f"ses-{index:02d}", f"ses-{index:02d}"
    if name in ("t1w", "path"):
        return SCANS[index], SCANS[index]
    if name == "split":
        return ("train", "train") if odd < 0.95 else (rng.choice(["val", "Train", "n/a"]), FAULT)
    if name == "session":
        label = rng.choice(["1", "2", "baseline", "01"])
        return (f"ses-{label}", f"ses-{label}") if odd < 0.6 else (rng.choice(MISSING), None)
    if name == "sex":
        sex = rng.choice("FM")
        if odd > 0.93:
            return rng.choice([*MISSING, "x", "3", "female or male"]), FAULT
        return ({"F": "1", "M": "2"}[sex], sex) if has_levels else (rng.choice(SEXES[sex]), sex)
    if name in ("age", "age_years", "ventricles_ml", "brain_ml"):
        if odd > 0.94:
            return rng.choice(NO_NUMBERS), FAULT
        if odd > 0.9:
            return rng.choice(MISSING), None if name in ("ventricles_ml", "brain_ml") else FAULT
        if odd > 0.87:
            return rng.choice(["-3", "0", "99999999"]), FAULT
        value = rng.randint(1, 100) + rng.choice([0, 0.5, 0.25])
        there = value * (UNITS[unit][0] if name == "age" else 1)
        styles = ["{:.10g}", "{:.6f}", "+{:.10g}", "{:.12e}"]
        return rng.choice(styles).format(there), value
    return rng.choice([*NOTES, "7", "28"]), ...


def _cased(rng: Random, name: str) -> str:
    return rng.choice([name, name, name, name.upper(), f" {name}"])


def _line(cells: list[str], separator: str, is_quoted: bool) -> str:
    if not is_quoted:
        return separator.join(cells)
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\r\n").writerow(cells)
    return out.getvalue().removesuffix("\r\n")


def _damaged_line(rng: Random, cells: list[str], meaning: Any, separator: str, is_quoted: bool, made: Made) -> tuple[str, Any]:
    """A line, damaged now and then, and what it then means."""
    what = rng.choice([None] * 12 + ["longer", "shorter", "empty end", "quoted", "line break"])
    if what == "longer":
        place = rng.randrange(len(cells) + 1)
        harmless = not any(cell.strip() for cell in cells[place:])
        changed = [*cells[:place], "", *cells[place:]]
        meaning = (FAULT if meaning == FAULT else EITHER) if harmless else FAULT
        cells = changed
    elif what == "shorter" and len(cells) > 2:
        place = rng.randrange(len(cells))
        cells = cells[:place] + cells[place + 1 :]
        meaning = FAULT
    elif what == "empty end":
        meaning = EITHER if meaning != FAULT and not all(cell.strip() for cell in cells) else meaning
        cells = [*cells, *[""] * rng.randint(1, 3)]
    elif what == "quoted" and not is_quoted:
        place = rng.randrange(len(cells))
        cells = [f'"{cell.strip()}"' if index == place else cell for index, cell in enumerate(cells)]
        meaning = FAULT if meaning == FAULT else EITHER  # of a column that nobody uses it says nothing
    elif what == "line break" and is_quoted:
        place = rng.randrange(len(cells))
        if any(meant is ... for meant in [list(meaning.values())[place] if isinstance(meaning, dict) else None]):
            cells = [*cells[:place], "two\nlines", *cells[place + 1 :]]
    if what:
        made.classes.append(what)
    return _line(cells, separator, is_quoted), meaning


def _sidecar(rng: Random, names: list[str], unit: str, has_levels: bool) -> dict[str, Any] | None:
    told: dict[str, Any] = {}
    if "age" in names and (unit != "years" or rng.random() < 0.3):
        told[rng.choice(["age", "Age"])] = {"Description": "age at the scan", "Units": rng.choice(UNITS[unit][1])}
    if has_levels and "sex" in names:
        levels = rng.choice(
            [{"1": "Female", "2": "male participants"}, {"female": "1", "male": "2"}, {"1": {"Description": "F"}, "2": "M"}]
        )
        told["sex"] = {"Levels": levels}
    return told or None


def _finish(rng: Random, made: Made, lines: list[str], separator: str, is_quoted: bool, names: list[str]) -> None:
    """Join the lines, encode them, and damage the whole now and then."""
    end = rng.choice(["\n", "\n", "\r\n", "\r"])
    what = rng.choice([None] * 14 + ["latin-1", "nul", "utf-16 bare", "column twice", "unit", "open quote", "json"])
    if what == "column twice":
        extra = rng.choice([name for name in names if name not in ("note", "score", "group", "site")])
        lines = [separator.join([line, _cased(rng, extra) if place == 0 else "1"]) for place, line in enumerate(lines)]
        lines = [line.replace("\n", " ") for line in lines]
        made.truth = None
    elif what == "open quote" and is_quoted and len(lines) > 2:
        first, last = sorted(rng.sample(range(1, len(lines)), 2))
        lines = [line + separator if line.strip() and place not in (0, first, last) else line for place, line in enumerate(lines)]
        lines[first] += f'{separator}"he fell asleep'
        lines[last] += f'{separator}and moved"'
        lines[0] += f"{separator}remark"
        made.truth = None
    elif what == "unit" and "age" in names:
        made.sidecar = {"age": {"Units": rng.choice(UNKNOWN_UNITS)}}
        made.truth = None
    elif what == "json":
        made.sidecar = {"broken": True}
        made.truth = None
    text = end.join(lines) + rng.choice([end, "", end * 2])
    encoding = rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"])
    if what == "latin-1":
        text, encoding = text.replace(separator, f"\u00e9{separator}", 1), "utf-8"
        made.content, made.truth = text.encode("latin-1", "replace"), None
    elif what == "nul":
        place = rng.randrange(len(text))
        made.content, made.truth = (text[:place] + "\0" + text[place:]).encode(encoding), None
    elif what == "utf-16 bare":
        made.content, made.truth = text.encode("utf-16-le"), None
    else:
        made.content = text.encode(encoding)
    if what:
        made.classes.append(what)
    made.classes += [encoding, {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}[end]]


def write(folder: Path, made: Made) -> Path:
    """Write a table and the JSON beside it."""
    path = folder / f"table{made.suffix}"
    for old in folder.glob("table.*"):
        old.unlink()
    path.write_bytes(made.content)
    if made.sidecar == {"broken": True}:
        path.with_suffix(".json").write_text('{"age": ')
    elif made.sidecar is not None:
        path.with_suffix(".json").write_text(json.dumps(made.sidecar))
    return path
