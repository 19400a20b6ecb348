"""Numbers with the unit of their last digit: of texts as they are written, of arrays by the shortest decimal that gives them."""

import re

import numpy as np

_NUMBER = re.compile(r"(?<![\d.])[-+]?(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d{1,2}))?(?!\d)")
_COMMA = re.compile(r"(?<=\d),(?=\d)")
_DECIMALS = 7


def numbers_of(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of a text [N] in order, and the unit of the last digit of each."""
    values: list[float] = []
    units: list[float] = []
    for found in _NUMBER.finditer(text):
        if len(found[0]) > 40:
            continue
        exponent = int(found[3] or 0)
        values.append(float(found[0]))
        units.append(10.0 ** (exponent - len(found[2] or "")))
    return np.array(values), np.array(units)


def readings(text: str) -> list[str]:
    """Return a text, and with decimal commas as points where there are commas inside numbers."""
    return [text, _COMMA.sub(".", text)] if _COMMA.search(text) else [text]


def units_of(values: np.ndarray) -> np.ndarray:
    """Return the unit of the last decimal of each value, for the fewest decimals that give it in its own type."""
    if values.dtype.kind in "iub":
        return np.ones(values.shape)
    wide = values.astype(np.float64)
    units = np.full(values.shape, 10.0**-_DECIMALS)
    for decimals in range(_DECIMALS - 1, -1, -1):
        with np.errstate(over="ignore", invalid="ignore"):
            same = np.round(wide, decimals).astype(values.dtype) == values
        units[same] = 10.0**-decimals
    return units
