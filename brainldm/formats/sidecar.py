"""The JSON beside a table, as BIDS has it: `Units` of numbers and `Levels` of categories."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from brainldm.core.errors import DataError
from brainldm.core.regular_files import MOST_TEXT, open_regular, read_all
from brainldm.formats.numbers import number
from brainldm.formats.pointers import link_remedy, pointer_remedy

DAYS_A_YEAR = 365.25
FACTORS = {
    "years": {"years": 1.0, "months": 1 / 12, "weeks": 7 / DAYS_A_YEAR, "days": 1 / DAYS_A_YEAR},
    "mL": {"mL": 1.0, "mm3": 0.001, "L": 1000.0},
}  # what a number of the unit is multiplied by
UNIT_WORDS = {
    "years": "year years yr yrs y yo a annum anni",
    "months": "month months mo mos mon mons mth mths",
    "weeks": "week weeks wk wks w",
    "days": "day days d",
    "mL": "ml milliliter milliliters millilitre millilitres cm3 cm^3 cc ccm",
    "mm3": "mm3 mm^3 ul microliter microliters microlitre microlitres mm\u00b3 \u00b5l \u03bcl",
    "L": "l liter liters litre litres dm3 dm^3",
}
FILLERS = (
    "age ages aged in at of the on scan scanning scanned mri old o completed decimal calendar chronological unit units volume "
    "since birth baseline visit session acquisition assessment testing examination participant subject rounded whole integer"
)  # words around a unit that do not change it
SEX_WORDS = {
    "F": frozenset(["f", "female", "females", "woman", "women", "girl", "girls", "feminine"]),
    "M": frozenset(["m", "male", "males", "man", "men", "boy", "boys", "masculine"]),
}
SAME = 0.02  # factors nearer than this are one: 0.083 for 1/12
OTHER_UNITS = re.compile(r"month|week|days", re.IGNORECASE)
IN_OTHER_UNITS = re.compile(r"\bin\s+(?:\w+\s+)?(?:months|weeks|days)\b|[(\[](?:months|weeks|days)[)\]]")


class Sidecar(NamedTuple):
    """What the JSON files of a table say, by the names of columns in small letters; `path` is the file nearest to the table."""

    path: Path
    fields: dict[str, dict[str, Any]]

    def of(self, column: str) -> dict[str, Any]:
        """Return what is said of a column, in any case of letters."""
        return self.fields.get(column.casefold(), {})


class Factor(NamedTuple):
    """What the numbers of a column are multiplied by, and the unit they are in; `unit` is None where none is given."""

    by: float
    unit: str | None


def sidecar_of(table: Path, above: Iterable[Path] = ()) -> Sidecar:
    """Read the .json beside a table; what it says of a column comes before what the files `above` it say (BIDS: inheritance).

    DataError for one that is no JSON, or says two things of one column.
    """
    beside = table.with_suffix(".json")
    fields: dict[str, dict[str, Any]] = {}
    for path in [*above, beside]:
        if os.path.lexists(path):  # a link to nothing is a sidecar whose content is not there
            for column, told in _read(path).items():
                fields[column] = {**fields.get(column, {}), **told}
    return Sidecar(beside, fields)


def factor_of(sidecar: Sidecar, column: str, into: str) -> Factor:
    """Return what turns the numbers of a column into `into` ('years' or 'mL'), by its Units; 1 where it has none.

    DataError for a unit that is unknown, and where only the description speaks of months, weeks or days.
    """
    told = sidecar.of(column)
    text = told.get("Units")
    if text is None or str(text).strip().casefold() in ("", "n/a"):
        described = " ".join(str(told.get(key, "")) for key in ("LongName", "Description")).casefold()
        speaks_of_others = IN_OTHER_UNITS.search(described) or (OTHER_UNITS.search(described) and "year" not in described)
        if into == "years" and speaks_of_others:
            raise DataError(
                f"{sidecar.path}: {column} has no Units, and its description speaks of another unit than years ({described.strip()}). "
                'Add "Units".'
            )
        return Factor(1.0, None)
    unit = _unit(str(text), FACTORS[into])
    if unit is None:
        known = ", ".join(FACTORS[into])
        raise DataError(f"{sidecar.path}: the unit of {column} is {str(text)!r}, which is not known. Write one of: {known}.")
    return Factor(FACTORS[into][unit], unit)


def converted(text: str | None, factor: float) -> str | None:
    """Return a number times a factor, as a text; anything else as it is."""
    if text is None or factor == 1.0 or number(text) != number(text):
        return text
    return f"{number(text) * factor:.10g}"


def sex_of(text: str) -> str:
    """Return F or M for the common spellings of a sex in any case; anything else as it is."""
    return next((code for code, words in SEX_WORDS.items() if text.strip().casefold() in words), text)


def sex_by_levels(sidecar: Sidecar, column: str, text: str) -> str:
    """Return F or M for a cell of a column of sexes, by the sidecar's Levels where it has them, else by its spelling.

    Levels may be turned round ({"male": "1"}). DataError for a level of the cell that names no sex.
    """
    levels = sidecar.of(column).get("Levels")
    if not isinstance(levels, dict) or not levels:
        return sex_of(text)
    described = {_whole(str(code)): _description(told) for code, told in levels.items()}
    code = _whole(text)
    if code not in described:
        names = [name for name, told in described.items() if _whole(told) == code and _sex_in(name)]
        return str(_sex_in(names[0])) if len(names) == 1 else sex_of(text)
    told = described[code]
    by_text = _sex_in(told)
    by_code = _sex_in(code)
    if by_text and by_code and by_text != by_code:
        raise DataError(f"{sidecar.path}: the level {text!r} of {column} is {told!r}. Which is meant cannot be known; correct one.")
    if by_text:
        return by_text
    turned_round = number(told) == number(told)  # {"male": "1"}
    if by_code and (not told or turned_round or code not in ("f", "m")):
        return by_code
    if not told:
        return text
    raise DataError(f"{sidecar.path}: the level {text!r} of {column} is {told!r}, which names no sex. Write female or male there.")


def sexes_by_levels(sidecar: Sidecar, column: str, cells: pd.Series) -> tuple[list[Any], dict[int, str]]:
    """Return the sexes of a column by `sex_by_levels`, cells that are no texts as they are, and the faults by row."""
    sexes: list[Any] = []
    faults: dict[int, str] = {}
    for row, cell in cells.items():
        try:
            sexes.append(sex_by_levels(sidecar, column, cell) if isinstance(cell, str) else cell)
        except DataError as error:
            sexes.append(cell)
            faults[int(row)] = f"{column}: {error}"
    return sexes, faults


def _read(path: Path) -> dict[str, dict[str, Any]]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"{path}: {', '.join(twice)} stands there twice; which is meant cannot be known. Remove one.")
        return dict(pairs)

    try:
        path.stat()
        content = read_all(open_regular(path, "JSON file"), path, MOST_TEXT)
        if remedy := pointer_remedy(content):
            raise DataError(f"{path} holds a pointer to its content only. {remedy}.")
        told = json.loads(content.decode("utf-8-sig"), object_pairs_hook=once)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}{link_remedy(path)}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error}). Correct it: units and levels of the table beside it stand there.") from None
    fields: dict[str, dict[str, Any]] = {}
    for column, entry in told.items() if isinstance(told, dict) else ():
        if not isinstance(entry, dict):
            continue
        if column.strip().casefold() in fields:
            raise DataError(f"{path}: {column} stands there twice, in two cases of letters. Remove one.")
        fields[column.strip().casefold()] = entry
    return fields


def _unit(text: str, known: dict[str, float]) -> str | None:
    """Return the one unit that a text names, whatever filling words stand around it; None for any other text."""
    words = [
        word
        for word in re.split(r"[\s.,;:()\[\]_/-]+", text.strip().casefold().replace("(s)", "s"))
        if word and word not in FILLERS.split()
    ]
    if len(words) != 1:
        return None
    return next((unit for unit in known if words[0] in UNIT_WORDS[unit].split()), None)


def _description(told: Any) -> str:
    """Return a level's description; BIDS allows an object with a Description."""
    return str(told.get("Description", "") if isinstance(told, dict) else told).strip()


def _sex_in(text: str) -> str | None:
    """Return the one sex that a text names, or None."""
    words = set(re.findall(r"[^\W\d_]+", text.casefold()))
    found = [code for code, names in SEX_WORDS.items() if words & names]
    return found[0] if len(found) == 1 else None


def _whole(text: str) -> str:
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text.strip()).casefold()
