"""The values of a condition: columns of a table as Arrow arrays of few types, and how two are compared."""

import math
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Operand:
    """Values of one kind, an array of all rows or a scalar; `start` is where they stand in the text."""

    kind: str  # number, text, boolean, null (a column without values) or other
    values: pa.Array | pa.Scalar
    start: int

    @property
    def is_scalar(self) -> bool:
        """Return True for a literal, or what follows from literals alone."""
        return isinstance(self.values, pa.Scalar)

    @property
    def described(self) -> str:
        """Return what the values are, for an error."""
        known = {"text": "a text", "boolean": "true or false", "other": "a column of this type"}
        return known.get(self.kind, f"a {self.kind}")


def column(values: pd.Series, start: int) -> Operand:
    """Return a column as 64-bit integers, floats, text or booleans, NaN as null.

    Raises ArrowException, ValueError, TypeError or OverflowError where the column holds values of several types.
    """
    found = pa.Array.from_pandas(values)
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    kind = found.type
    if pa.types.is_integer(kind):
        return Operand("number", found.cast(pa.int64()), start)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        floats = found.cast(pa.float32() if kind in (pa.float16(), pa.float32()) else pa.float64())
        return Operand("number", pc.if_else(pc.is_nan(floats), pa.scalar(None, floats.type), floats), start)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return Operand("text", found.cast(pa.large_string()), start)
    if pa.types.is_boolean(kind):
        return Operand("boolean", found, start)
    return Operand("null" if pa.types.is_null(kind) else "other", found, start)


def number(text: str) -> pa.Scalar | None:
    """Return a 64-bit integer, or a float where the text has a fraction or an exponent; None if it is out of range."""
    if text.removeprefix("-").isdigit():
        fits = len(text) <= 20 and -(2**63) <= int(text) < 2**63
        return pa.scalar(int(text), pa.int64()) if fits else None
    value = float(text)
    return None if math.isinf(value) else pa.scalar(value, pa.float64())


def common_type(left: Operand, right: Operand) -> pa.DataType:
    """Return the type in which two are compared: a float column's beside a literal, else 64-bit floats."""
    if left.values.type == right.values.type:
        return left.values.type
    if left.kind == "text":
        return pa.large_string()
    columns = [operand.values.type for operand in (left, right) if not operand.is_scalar]
    if len(columns) == 1 and pa.types.is_floating(columns[0]):
        return columns[0]
    return pa.float64()


def is_in(left: Operand, listed: list[Operand]) -> pa.Array | pa.Scalar:
    """Return whether each value is one of the list, null for a missing value."""
    types = {common_type(left, value) for value in listed}
    kind = pa.float64() if len(types) > 1 else types.pop()
    values = pa.array([value.values.cast(kind, safe=False).as_py() for value in listed], kind)
    found = pc.is_in(left.values.cast(kind, safe=False), value_set=values)
    return pc.if_else(pc.is_valid(left.values), found, pa.scalar(None, pa.bool_()))
