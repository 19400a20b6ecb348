"""Values from files of strangers checked against a pydantic schema: every fault names its field, on one line."""

import json
import reprlib
from collections import Counter
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from brainldm.core.errors import DataError
from brainldm.core.printable import printable

M = TypeVar("M", bound=BaseModel)
HASH = r"^[0-9a-f]{64}$"
SHOWN = 3  # faults in one message
MISSING = "Field required"  # as pydantic says it
Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"]
DEEPEST = 20  # values within values of a JSON text


class Schema(BaseModel):
    """Describe what a file holds: no unknown keys, no number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def checked(kind: type[M], values: object, name: str) -> M:
    """Return `values` as a `kind`; DataError, with the fields at fault, where they are none. `name` says whose values they are."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise DataError(f"Cannot use {name}: {faults(error)}.") from None


def faults(error: ValidationError) -> str:
    """Return the first faults as "field: what is wrong, found value", joined by semicolons."""
    told = [_fault(fault["loc"], fault["msg"], fault.get("input")) for fault in error.errors(include_url=False)[:SHOWN]]
    more = error.error_count() - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _fault(location: tuple[int | str, ...], message: str, found: object) -> str:
    where = printable(".".join(map(str, location)), 100)
    told = printable(message.removeprefix("Value error, "))
    if not where:
        return told
    return f"{where}: missing" if message == MISSING else f"{where}: {told}, found {printable(reprlib.repr(found), 80)}"


def strict_json(text: str | bytes) -> Any:
    """Return what a JSON text holds; ValueError for a key that stands twice, NaN, infinity, or values nested more than DEEPEST deep."""
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"values are nested more than {DEEPEST} deep") from None
    _check_depth(found, DEEPEST)
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {printable(twice, 60)} stands there twice")
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _check_depth(value: Any, left: int) -> None:
    if left < 0:
        raise ValueError(f"values are nested more than {DEEPEST} deep")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        if isinstance(child, dict | list):
            _check_depth(child, left - 1)
