"""Conditions on the columns of a table, such as "age_years >= 70 and sex == 'F'": parsed, never run as code.

    condition  = both { ("or" | "|") both }
    both       = negated { ("and" | "&") negated }
    negated    = "not" negated | comparison
    comparison = operand { ("==" | "!=" | "<" | "<=" | ">" | ">=") operand }
               | operand [ "not" ] "in" list | operand "is" [ "not" ] "null"
    operand    = "-" operand | "~" operand | column | number | text | "true" | "false" | "(" condition ")"
    list       = "[" literal { "," literal } "]" | "(" literal { "," literal } ")"

Words are read in any case, and None means null. `&`, `|` and `~` bind as they did in pandas: the first two like `and`
and `or`, the last like a minus sign. `a < b < c` means `a < b and b < c`. Missing values follow SQL: a comparison
with one is neither true nor false, `not` leaves it so, and only rows whose condition is true are kept. NaN is a
missing value. A literal takes the precision of a float column beside it, so that 70.1 equals what a 32-bit column
shows as 70.1.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from brainldm.core.errors import DataError
from brainldm.formats.condition_text import ALLOWED, Token, fail, shown, tokens
from brainldm.formats.condition_values import Operand, column, common_type, is_in, number

MAX_OPERANDS = 500  # columns and literals outside of lists
MAX_DEPTH = 50  # parentheses, not, ~ and - inside one another

MAX_REMEDY = 500  # characters
LONGEST_NAME = 60  # of which a near one is looked for

_ESCAPED = re.compile(r"\\(.)")
_COMPARE: dict[str, Callable[..., pa.Array]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def select_rows(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the rows of a table for which the condition `where` is true.

    Raises DataError, which shows the text with a caret under the fault, for anything that the grammar above does not
    allow, an unknown column, or values that cannot be compared. Nothing of the text is executed.
    """
    if not isinstance(where, str):
        raise DataError(f"Cannot use the condition: it is a {type(where).__name__}, not a text.")
    kept = pc.fill_null(_Parser(where, table).parse(), False)
    return table[kept.to_numpy(zero_copy_only=False)]


class _Parser:
    """A recursive descent over the tokens of `where` that evaluates as it goes, with pyarrow's functions alone."""

    def __init__(self, where: str, table: pd.DataFrame) -> None:
        self.where = where
        self.table = table
        self.names = [str(name) for name in table.columns]
        self.known: dict[str, Operand] = {}
        self.depth = 0
        self.n_operands = 0
        self.place = 0
        self.tokens = tokens(where)

    def parse(self) -> pa.BooleanArray:
        """Return the condition of every row: true, false or null."""
        if self._token.kind == "end":
            self._fail(0, "it is empty", "Write one such as age_years >= 70, or leave it out.")
        found = self._condition()
        if self._token.kind != "end":
            self._unexpected("expected and, or, a comparison or the end")
        return self._boolean(found)

    @property
    def _token(self) -> Token:
        return self.tokens[self.place]

    def _next(self, *texts: str) -> bool:
        """Step over the token if it is one of these words or marks; say whether it was."""
        if self._token.kind not in {"word", "mark"} or self._token.text not in texts:
            return False
        self.place += 1
        return True

    def _expect(self, *texts: str) -> None:
        if not self._next(*texts):
            self._unexpected(f"expected {texts[0]}")

    def _fail(self, start: int, fault: str, remedy: str = "") -> NoReturn:
        fail(self.where, start, fault, remedy)

    def _unexpected(self, expected: str) -> NoReturn:
        if self._token.kind == "end":
            self._fail(self._token.start, f"it ends too early, {expected}")
        hint = "Write in to compare with a list." if self._token.text == "[" else ""
        self._fail(self._token.start, f"{expected} here", hint)

    def _nested(self, rule: Callable[[], Operand]) -> Operand:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._fail(self._token.start, "it is nested too deeply", f"At most {MAX_DEPTH} levels are read.")
        found = rule()
        self.depth -= 1
        return found

    def _condition(self) -> Operand:
        return self._joined(self._both, ("or", "|"), pc.or_kleene)

    def _both(self) -> Operand:
        return self._joined(self._negated, ("and", "&"), pc.and_kleene)

    def _joined(self, rule: Callable[[], Operand], words: tuple[str, str], join: Callable[..., pa.Array]) -> Operand:
        found = rule()
        while self._next(*words):
            left = self._boolean(found)
            found = Operand("boolean", join(left, self._boolean(rule())), found.start)
        return found

    def _negated(self) -> Operand:
        start = self._token.start
        if not self._next("not"):
            return self._comparison()
        return Operand("boolean", pc.invert(self._boolean(self._nested(self._negated))), start)

    def _comparison(self) -> Operand:
        left = self._operand()
        if self._next("is"):
            return self._is_null(left)
        if self._next("in"):
            return self._contained(left, inside=True)
        if self._next("not"):
            self._expect("in")
            return self._contained(left, inside=False)
        chained: pa.Array | None = None
        first = left
        while self._token.kind == "mark" and (name := self._token.text) in _COMPARE:
            sign = self._token.start
            self.place += 1
            right = self._operand()
            found = self._compared(name, sign, left, right)
            chained = found if chained is None else pc.and_kleene(chained, found)
            left = right
        return first if chained is None else self._end_of_comparison(Operand("boolean", chained, first.start))

    def _is_null(self, left: Operand) -> Operand:
        negated = self._next("not")
        if not self._next("null", "none"):
            self._unexpected("expected null")
        found = pc.is_valid(left.values) if negated else pc.is_null(left.values)
        return self._end_of_comparison(Operand("boolean", found, left.start))

    def _contained(self, left: Operand, inside: bool) -> Operand:
        listed = self._list(left)
        if left.kind == "null":
            return self._end_of_comparison(left)
        found = is_in(left, listed)
        if not inside:
            found = pc.invert(found)
        return self._end_of_comparison(Operand("boolean", found, left.start))

    def _end_of_comparison(self, found: Operand) -> Operand:
        """Refuse `a < b in [1]`, which means one thing to Python and another to SQL."""
        if self._token.text in {*_COMPARE, "in", "is", "not"} and self._token.kind in {"word", "mark"}:
            remedy = "Join the two by and, or set one in parentheses."
            self._fail(self._token.start, "this comparison follows another", remedy)
        return found

    def _list(self, left: Operand) -> list[Operand]:
        closing = ")" if self._token.text == "(" else "]"
        if not (self._token.kind == "mark" and self._next("[", "(")):
            self._unexpected("expected a list such as ['F', 'M']")
        values: list[Operand] = []
        while not values or self._next(","):
            if values and self._token.text == closing and self._token.kind == "mark":
                break
            values.append(self._literal())
            self._check_kinds(left, values[-1], values[-1].start)
        self._expect(closing)
        return values

    def _operand(self) -> Operand:
        start = self._token.start
        following = self.tokens[min(self.place + 1, len(self.tokens) - 1)]
        if self._token.text == "-" and self._token.kind == "mark" and following.kind != "number":
            self.place += 1
            return self._minus(self._nested(self._operand), start)
        if self._next("~"):
            return Operand("boolean", pc.invert(self._boolean(self._nested(self._operand))), start)
        if self._next("("):
            found = self._nested(self._condition)
            self._expect(")")
            return found
        self.n_operands += 1
        if self.n_operands > MAX_OPERANDS:
            fault = f"it has more than {MAX_OPERANDS:,} columns and values"
            self._fail(start, fault, "Use a list: index in [1, 2, 3].")
        if self._token.kind == "name":
            if following.kind == "mark" and following.text == "(":
                self._fail(start, "nothing can be called", ALLOWED)
            self.place += 1
            return self._column(self.tokens[self.place - 1])
        return self._literal()

    def _minus(self, found: Operand, start: int) -> Operand:
        if found.kind == "null":
            return found
        if found.kind != "number":
            self._fail(found.start, f"this is {found.described}, which has no negative")
        try:
            return Operand("number", pc.negate_checked(found.values), start)
        except pa.ArrowInvalid:
            self._fail(start, "this number is out of range")

    def _literal(self) -> Operand:
        start = self._token.start
        sign = "-" if self._next("-") else ""
        token = self._token
        if token.kind == "number":
            self.place += 1
            value = number(sign + token.text)
            if value is None:
                self._fail(start, "this number is out of range", "Numbers without a fraction have at most 64 bits.")
            return Operand("number", value, start)
        if sign:
            self._unexpected("expected a number")
        if token.kind == "text":
            self.place += 1
            return Operand("text", self._text(token), start)
        if self._next("true", "false"):
            return Operand("boolean", pa.scalar(token.text == "true"), start)
        if token.text in {"null", "none"} and token.kind == "word":
            self._fail(start, "nothing equals null", "Write is null or is not null.")
        return self._unexpected("expected a column or a value")

    def _text(self, token: Token) -> pa.Scalar:
        try:
            return pa.scalar(_ESCAPED.sub(r"\1", token.text[1:-1]), pa.large_string())
        except UnicodeEncodeError:
            self._fail(token.start, "this text is not Unicode")

    def _column(self, token: Token) -> Operand:
        if token.text not in self.known:
            self.known[token.text] = self._read(token)
        return replace(self.known[token.text], start=token.start)

    def _read(self, token: Token) -> Operand:
        places = [place for place, name in enumerate(self.names) if name == token.text]
        if len(places) > 1:
            self._fail(token.start, "two columns have this name")
        if not places:
            near = self._near(token.text)
            remedy = f"Did you mean {near}?" if near else f"The columns are {', '.join(self.names)}."
            self._fail(token.start, f"there is no column {shown(token.text)}", shown(remedy, MAX_REMEDY))
        try:
            return column(self.table.iloc[:, places[0]], token.start)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):  # values of several types
            self._fail(token.start, "this column holds values of several types, or numbers beyond 64 bits")

    def _near(self, name: str) -> str | None:
        spelled = {known.lower(): known for known in self.names}
        found = difflib.get_close_matches(name.lower(), spelled, 1) if len(name) <= LONGEST_NAME else []
        return spelled[found[0]] if found else None

    def _boolean(self, found: Operand) -> pa.Array:
        if found.kind == "null":
            return pa.nulls(len(self.table), pa.bool_())
        if found.kind != "boolean":
            fault = f"this is {found.described}, which is neither true nor false"
            self._fail(found.start, fault, "Compare it with a value.")
        return pa.repeat(found.values, len(self.table)) if found.is_scalar else found.values

    def _compared(self, name: str, sign: int, left: Operand, right: Operand) -> pa.Array:
        self._check_kinds(left, right, sign)
        if "null" in (left.kind, right.kind):
            return pa.nulls(len(self.table), pa.bool_())
        if left.kind == "boolean" and name not in {"==", "!="}:
            self._fail(sign, "true and false have no order", "Use == or !=.")
        kind = common_type(left, right)
        found = _COMPARE[name](left.values.cast(kind, safe=False), right.values.cast(kind, safe=False))
        return pa.repeat(found, len(self.table)) if isinstance(found, pa.Scalar) else found

    def _check_kinds(self, left: Operand, right: Operand, start: int) -> None:
        for operand in (left, right):
            if operand.kind == "other":
                fault = f"{operand.described} cannot be compared"
                self._fail(operand.start, fault, "Only is null and is not null apply.")
        if "null" not in (left.kind, right.kind) and left.kind != right.kind:
            hint = "Write the column alone, or compare it with true." if "boolean" in (left.kind, right.kind) else ""
            self._fail(start, f"{left.described} cannot be compared with {right.described}", hint)
