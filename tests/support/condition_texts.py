"""Random conditions in two spellings, ours and SQL's, and texts that try to make a filter run something."""

import random
import string

import pandas as pd

NUMBERS = {"index": "int", "age_years": "float", "ventricles_ml": "float", "tar_offset": "float"}
TEXTS = ("sex", "cell", "qc_reason")
BOOLEANS = ("qc_pass", "in_support")
WORDS = ("F", "M", "", "it's", 'a "b"', "Zürich", "x\\y", "sub-000001", "%", "null")
STRANGE = (*string.printable, "\x1b", "\x00", "ѕ", "＝", "\u202e", "\ud800", "٣", " in ", " not ", "'")  # noqa: RUF001
OPERATORS = ("==", "!=", "<", "<=", ">", ">=")


def table(n: int, seed: int) -> pd.DataFrame:
    """Rows of every kind of column with missing values, infinities and one column without any value."""
    rng = random.Random(seed)

    def some(values: list, missing: float = 0.2) -> list:
        return [None if rng.random() < missing else rng.choice(values) for _ in range(n)]

    ages = [round(rng.uniform(40, 90), 1) for _ in range(12)]
    return pd.DataFrame(
        {
            "index": range(n),
            "age_years": pd.Series(some([*ages, float("inf"), 70.0]), dtype="float32"),
            "ventricles_ml": pd.Series(some([*ages, 1e-3, -5.5, float("-inf")]), dtype="float64"),
            "tar_offset": pd.Series(some([0, 512, 70]), dtype="float64"),
            "sex": some(["F", "M"]),
            "cell": some(list(WORDS)),
            "qc_reason": [None] * n,
            "qc_pass": some([True, False], 0),
            "in_support": some([True, False]),
        }
    )


class Conditions:
    """Draws conditions: `draw` returns one as our grammar spells it, and the same in SQL."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def draw(self, depth: int = 4) -> tuple[str, str]:
        rng = self.rng
        simple = ("compare", "in", "null", "chain", "boolean")
        kind = rng.choice(simple if depth == 0 else ("and", "or", "not", "compare", "in"))
        return getattr(self, f"_{kind}")(depth)

    def _inside(self, depth: int) -> tuple[str, str]:
        ours, sql = self.draw(self.rng.randrange(depth))
        return f"({ours})", f"({sql})"

    def _and(self, depth: int) -> tuple[str, str]:
        return self._joined(depth, self.rng.choice((" and ", " & ", "&", "\tAND\n")), " AND ")

    def _or(self, depth: int) -> tuple[str, str]:
        return self._joined(depth, self.rng.choice((" or ", " | ", "|", " OR ")), " OR ")

    def _joined(self, depth: int, ours: str, sql: str) -> tuple[str, str]:
        parts = [self._inside(depth) for _ in range(self.rng.randint(2, 3))]
        return ours.join(part[0] for part in parts), sql.join(part[1] for part in parts)

    def _not(self, depth: int) -> tuple[str, str]:
        ours, sql = self._inside(depth)
        return self.rng.choice(("not ", "~", "~ ~ ~")) + ours, f"NOT {sql}"

    def _boolean(self, depth: int) -> tuple[str, str]:
        name = self.rng.choice(BOOLEANS)
        value = self.rng.choice(("true", "False", "TRUE"))
        ours = self.rng.choice((name, f"~{name}", f"{name} == {value}", f"{value} != {name}", value))
        return ours, ours.replace("~", "NOT ").replace("==", "=").replace("!=", "<>")

    def _null(self, depth: int) -> tuple[str, str]:
        name = self.rng.choice((*NUMBERS, *TEXTS, *BOOLEANS))
        negated = self.rng.choice(("", "not "))
        return f"{name} is {negated}{self.rng.choice(('null', 'None'))}", f'"{name}" IS {negated}NULL'

    def _operand(self, literals: bool = True) -> tuple[str, str]:
        if literals and self.rng.random() < 0.5:
            return self._number()
        name = self.rng.choice(list(NUMBERS))
        return self.rng.choice(((name, f'"{name}"'), (f"-{name}", f'-"{name}"'), (f"({name})", f'"{name}"')))

    def _number(self) -> tuple[str, str]:
        drawn = (self.rng.randint(-9, 99), round(self.rng.uniform(40, 90), 1))
        number = self.rng.choice((0, 1, 5, 70, 70.0, 512, 45.5, 1e3, 0.001, *drawn))
        return repr(number), f"({number!r})"

    def _text(self) -> tuple[str, str]:
        word = self.rng.choice(WORDS)
        quote = self.rng.choice("'\"")
        ours = word.replace("\\", "\\\\").replace(quote, f"\\{quote}")
        return f"{quote}{ours}{quote}", "'" + word.replace("'", "''") + "'"

    def _compare(self, depth: int) -> tuple[str, str]:
        operator = self.rng.choice(OPERATORS)
        if self.rng.random() < 0.4:
            left = self.rng.choice(TEXTS)
            ours, sql = self.rng.choice((self._text(), (self.rng.choice(TEXTS),) * 2))
            return f"{left} {operator} {ours}", f'"{left}" {_sql(operator)} {sql}'
        left, right = self._operand(literals=False), self._operand()
        sides = [left, right] if self.rng.random() < 0.5 else [right, left]
        return f"{sides[0][0]}{operator}{sides[1][0]}", f"{sides[0][1]} {_sql(operator)} {sides[1][1]}"

    def _chain(self, depth: int) -> tuple[str, str]:
        low, middle, high = self._number(), self._operand(literals=False), self._number()
        one, two = self.rng.choice(OPERATORS), self.rng.choice(OPERATORS)
        ours = f"{low[0]} {one} {middle[0]} {two} {high[0]}"
        return ours, f"({low[1]} {_sql(one)} {middle[1]} AND {middle[1]} {_sql(two)} {high[1]})"

    def _in(self, depth: int) -> tuple[str, str]:
        is_text = self.rng.random() < 0.5
        values = [self._text() if is_text else self._number() for _ in range(self.rng.randint(1, 4))]
        left = self.rng.choice(TEXTS) if is_text else self.rng.choice(list(NUMBERS))
        negated = self.rng.choice(("", "not "))
        opening, closing = self.rng.choice(("[]", "()"))
        comma = self.rng.choice(("", ","))
        ours = f"{left} {negated}in {opening}{', '.join(value[0] for value in values)}{comma}{closing}"
        return ours, f'"{left}" {negated}IN ({", ".join(value[1] for value in values)})'


def _sql(operator: str) -> str:
    return {"==": "=", "!=": "<>"}.get(operator, operator)


def damaged(text: str, rng: random.Random) -> str:
    """A text after some characters of it were removed, doubled, swapped or replaced by what no condition has."""
    letters = list(text)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(letters) + 1)
        kind = rng.randrange(3)
        if kind == 0:
            del letters[place : place + rng.randint(1, 5)]
        elif kind == 1:
            letters[place:place] = letters[place : place + rng.randint(1, 9)]
        else:
            letters.insert(place, rng.choice(STRANGE))
    return "".join(letters)


def hostile(flag: str) -> list[str]:
    """Texts that would write the file `flag`, read one, connect, hang or exhaust memory if they were evaluated."""
    run = f"__import__('pathlib').Path('{flag}').write_text('x')"
    return [
        run,
        f"age_years > 0 and {run}",
        f"age_years.__class__.__init__.__globals__['sys'].modules['os'].system('touch {flag}')",
        f"@pd.compat.os.system('touch {flag}')",
        f"@__builtins__.open('{flag}', 'w')",
        "@self",
        "@table.shape[0] > 0",
        f"sex.to_csv('{flag}')",
        f"index.to_pickle('{flag}')",
        "sex.str.len() > 0",
        "sex.str.match('(a+)+$')",
        "age_years.map(print)",
        "().__class__.__bases__[0].__subclasses__()",
        "().__class__.__mro__[-1]",
        "''.__class__",
        "sex.__class__",
        "age_years.values.tofile",
        f"open('{flag}', 'w')",
        f"eval(\"open('{flag}', 'w')\")",
        f"exec('import os; os.system(\"touch {flag}\")')",
        f"`touch {flag}`",
        "`age_years` > 70",
        "`a b` == 1",
        "$(id)",
        "sex == 'F'; import os",
        "age_years = 3",
        "sex := 'F'",
        "lambda: 1",
        "lambda x: x > 1",
        f'f\'{{open("{flag}", "w")}}\' == sex',
        "b'F' == sex",
        "[x for x in (1,).__class__.__base__.__subclasses__()]",
        "{'a': 1}",
        "index[0]",
        "age_years[0] > 1",
        "1 if qc_pass else 0",
        "yield 1",
        "await sex",
        "*index",
        "**index",
        "index ** index ** index",
        "9**9**9**9",
        "10**10**10 > index",
        "1 << 10000000000 > index",
        "index % 0 == 0",
        "index // 0 == 0",
        "index + 1 > 0",
        "index @ index",
        "index > " + "9" * 50_000,
        "index > 1e" + "9" * 50,
        "index > 0." + "1" * 99_000 + "e999999",
        "index > 0x7f",
        "index > 1_000",
        "index > 1j",
        "index > NaN",
        "index > inf",
        "index > ١٢",
        "іndex > 1",  # noqa: RUF001
        "index ＞ 1",  # noqa: RUF001
        "index\u00a0> 1",
        "index\u200b > 1",
        "index\u202e > 1",
        "index > 1\x00",
        "index > 1\x1b]0;title\x07",
        "index > 1 # comment",
        "index > 1 -- comment",
        "index > 1; DROP TABLE rows",
        "index > 1 UNION SELECT * FROM read_csv('/etc/passwd')",
        "sex LIKE '%'",
        "sex == '" + "a" * 200_000 + "'",
        "sex == '" + "a" * 90_000,
        "sex == '" + "\\" * 90_001 + "'",
        "'" * 90_001,
        "(" * 90_000,
        "(" * 40_000 + "qc_pass" + ")" * 40_000,
        "[" * 90_000,
        "not " * 20_000 + "qc_pass",
        "~" * 90_000 + "qc_pass",
        "-" * 90_000 + "index > 1",
        " and ".join(["index > 1"] * 1_000_000),
        " or ".join(["index > 1"] * 5_000),
        "index > 1 " * 9_000,
        "0 < " * 20_000 + "index",
        "index in (" + "1," * 60_000 + ")",
        "index in (" + "(" * 50_000,
        "index in index",
        "index in (index)",
        "index in []",
        "index in ()",
        "index in {1, 2}",
        "index in range(10**12)",
        "x" * 90_000,
        "_" * 90_000 + " > 1",
        "age_yeras > 70",
        "",
        " \n\t ",
        "and",
        "is null",
        "\ud800",
        "sex == '\ud800'",
        "sex == 'F' == ",
        "sex == 1",
        "qc_pass > 1",
        "age_years",
        "'F'",
        "null",
        "sex == null",
        "preview == 1",
        "-sex == 'F'",
        "~index",
    ]
