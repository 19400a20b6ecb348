"""Numbers that people wrote, by one strict rule, and what to do about texts that are none."""

import math
import re
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
DICOM_UNITS = {"D": "days", "W": "weeks", "M": "months", "Y": "years"}
REMEDIES = (
    (r"[+-]?[\d_]*\d_\d[\d_.]*", "it has an underscore. Write the digits alone."),
    (r"[+-]?[\d.' ]*\d,\d+", "it has a comma. Write a decimal point, and nothing between thousands."),
    (r"[+-]?\d{1,3}(['\u2019\u00a0\u202f ]\d{3})+(\.\d+)?", "it has marks between thousands. Write the digits alone."),
    (
        r"\d+(\.\d+)?\s*\+|[<>\u2264\u2265~].*|(over|under|above|below).*\d.*|\d.*or (older|more|over)",
        "it is a limit, where values beyond were cut off. Write one number for all such rows, or leave them out.",
    ),
    (r"\d+(\.\d+)?\s*(-|\u2013|to)\s*\d+(\.\d+)?", "it is a range. Write one number."),
    (r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*", "it is a date. Write the age."),
    (r"[+-]?(inf|infinity|nan)", "it is not finite. Write a number, or n/a."),
    (r"0[xob][0-9a-f]+", "it is not decimal. Write it with the digits 0 to 9."),
    (r"'.*", "it begins with an apostrophe, as spreadsheets mark texts. Remove it."),
    (r"[+-]?[\d.]+\s*%", "it has a percent sign. Write the number alone."),
    (r"[+-]?[\d.]+\s*[a-z\u00b5\u03bc]+\.?[0-9]?", "it has a unit. Write the number alone; units stand in the table's .json."),
)  # the first that the whole text matches, in any case of letters


def number(value: Any) -> float:
    """Return a text or a number as a float; NaN for what is no decimal number, such as '6_5', '65,3', 'inf' or True."""
    if isinstance(value, str):
        return float(value) if NUMBER.fullmatch(value) else math.nan
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return math.nan
    try:
        return float(value)
    except (ValueError, TypeError):
        return math.nan


def remedy(value: Any) -> str:
    """Return what is wrong with a text that is no number and what to write, as the end of a sentence; nothing where that is unknown."""
    text = str(value).strip()
    if not isinstance(value, str) or NUMBER.fullmatch(text):
        return ""
    if found := re.fullmatch(r"(\d{3})([DWMY])", text, re.ASCII):
        return f"; it is an age as DICOM writes it. Write {int(found[1])} and give the unit {DICOM_UNITS[found[2]]} in the table's .json."
    if any(char.isdigit() and not char.isascii() for char in text):
        return "; it has digits of another script. Write it with the digits 0 to 9."
    for pattern, told in REMEDIES:
        if re.fullmatch(pattern, text, re.IGNORECASE | re.ASCII):
            return f"; {told}"
    return ""
