"""Covariates of participants among numbers: values of one person that stand together and agree in more digits than chance explains."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from brainldm.formats.leaks.pieces import Records

CHANCE = 2e-3  # a row is a finding if chance would give less than so many like it, or better ones, in that kind of file
COARSE = 0.02  # a value that more than this share of people has is no sign of one
_AT_ONCE = 400_000_000  # pairs of a number and a participant that are compared at once
_MOST_COLUMNS = 6
_LEVELS = 160  # quarters of a decade of chance, from 1e-40 to 1
_OTHER_UNITS = {"_years": (1.0, 1 / 12, 1 / 365.25), "_ml": (1.0, 1e-3, 1e3)}  # months and days; mm3 and litres
_EPSILON = 6e-8  # relative, of 32-bit floats


class Match(NamedTuple):
    """A record that agrees with a participant in the covariates `columns`, the subset number `subset`.

    `level` tells how many people a record with as many digits agrees with by chance.
    """

    place: str
    participant: str
    columns: tuple[str, ...]
    subset: int
    level: int


class _Column(NamedTuple):
    name: str
    order: np.ndarray  # participants, by value
    values: np.ndarray  # sorted
    unit: float  # of the last digit that the table has
    density: float  # of people per unit, at most
    scales: tuple[float, ...]


class PeopleSearch:
    """Searches records of numbers for the covariates of the participants of a table, all of whose cells are strings."""

    def __init__(self, table: pd.DataFrame, names: list[str]) -> None:
        self.participants = table["participant_id"].tolist()
        self.columns = [_column(name, table[name]) for name in names[:_MOST_COLUMNS]]
        sizes = range(2, len(self.columns) + 1)
        self.subsets = [subset for size in sizes for subset in combinations(range(len(self.columns)), size)]
        self.expected: dict[str, np.ndarray] = {}  # by family, [subset, level]: agreements with one person, by chance
        self.matches: dict[str, list[Match]] = defaultdict(list)
        self._waiting: dict[tuple[str, bool], list[Records]] = defaultdict(list)
        self._n_waiting = 0

    def add(self, family: str, records: Records) -> None:
        """Compare records; `family` is the kind of file that they stand in, whose comparisons count together."""
        if not self.subsets or records.values.size < 2:
            return
        self._waiting[family, records.scaled].append(records)
        self._n_waiting += records.values.size
        if self._n_waiting * len(self.participants) > _AT_ONCE:
            self._compare()

    def found(self) -> Iterator[tuple[str, Match]]:
        """Yield family and match of every record that chance does not explain."""
        self._compare()
        for family, matches in self.matches.items():
            for match in matches:
                by_chance = self.expected[family][match.subset, : match.level + 1].sum() * len(self.participants)
                if by_chance < CHANCE:
                    yield family, match

    def merge(self, other: "PeopleSearch") -> None:
        """Add what another search of the same table compared."""
        other._compare()
        for family, expected in other.expected.items():
            self.expected[family] = self.expected.get(family, 0) + expected
        for family, matches in other.matches.items():
            self.matches[family] += matches

    def _compare(self) -> None:
        for (family, scaled), waiting in self._waiting.items():
            places = [records.place for records in waiting for _ in range(len(records.values))]
            owners = [np.repeat(np.arange(len(one.values)), one.values.shape[1]) for one in waiting]
            starts = np.cumsum([0, *(len(one.values) for one in waiting)])[:-1]
            record = np.concatenate([owner + start for owner, start in zip(owners, starts, strict=True)])
            values = np.concatenate([one.values.ravel() for one in waiting]).astype(np.float64)
            units = np.concatenate([one.units.ravel() for one in waiting]).astype(np.float64)
            good = np.isfinite(values)
            self._match(family, places, record[good], values[good], units[good], scaled)
        self._waiting.clear()
        self._n_waiting = 0

    def _match(self, family: str, places: list[str], record: np.ndarray, values: np.ndarray, units: np.ndarray, scaled: bool) -> None:
        """Add up what chance explains, and keep the records that agree with a participant in two covariates or more."""
        chances = np.zeros((len(places), len(self.columns)))
        hits = []
        for index, column in enumerate(self.columns):
            for scale in column.scales if scaled else (1.0,):
                inside = _inside(column, values * scale, units * scale)
                chance = _chance(column, values[inside] * scale, units[inside] * scale)
                chances[:, index] += np.bincount(record[inside], weights=chance, minlength=len(places))
                place, person = _agreeing(column, values[inside] * scale, units[inside] * scale)
                where = np.flatnonzero(inside)[place]
                hits.append(np.stack([record[where], person, np.full(len(where), index), where, chance[place]], axis=1))
        together = np.stack([chances[:, subset].prod(axis=1) for subset in self.subsets], axis=1)
        levels = np.clip(_LEVELS + 4 * np.log10(np.maximum(together, 1e-99)), 0, _LEVELS).astype(int)
        expected = self.expected.setdefault(family, np.zeros((len(self.subsets), _LEVELS + 1)))
        for number in range(len(self.subsets)):
            expected[number] += np.bincount(levels[:, number], weights=together[:, number], minlength=_LEVELS + 1)
        self.matches[family] += self._together(places, levels, np.concatenate(hits))

    def _together(self, places: list[str], levels: np.ndarray, hits: np.ndarray) -> Iterator[Match]:
        """Yield what agrees with one participant in one record, in two columns or more, each with a number of its own."""
        hits = hits[np.lexsort((hits[:, 4], hits[:, 1], hits[:, 0]))]
        edges = np.flatnonzero(np.any(np.diff(hits[:, :2], axis=0) != 0, axis=1)) + 1
        starts = np.concatenate([[0], edges]).astype(int)
        ends = np.concatenate([edges, [len(hits)]]).astype(int)
        for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
            used: dict[int, int] = {}
            for column, number in hits[start:end, 2:4].astype(int):
                if column not in used and number not in used.values():
                    used[int(column)] = int(number)
            if len(used) > 1:
                record, person = int(hits[start, 0]), int(hits[start, 1])
                names = tuple(self.columns[column].name for column in sorted(used))
                subset = self.subsets.index(tuple(sorted(used)))
                yield Match(places[record], self.participants[person], names, subset, int(levels[record, subset]))


def _column(name: str, cells: pd.Series) -> _Column:
    """Return the values of a covariate in order, and how finely and densely they lie."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    digits = max((len(cell.partition(".")[2]) for cell in cells if "e" not in cell.lower()), default=0)
    spread = float(np.std(values[known])) if len(known) > 1 else 0.0
    spread = max(spread, 0.02 * float(np.abs(values[known]).mean()) if len(known) else 1.0, 1e-9)
    scales = next((scales for suffix, scales in _OTHER_UNITS.items() if name.endswith(suffix)), (1.0,))
    return _Column(name, order, values[order], 10.0**-digits, 1 / (2.5 * spread), scales)


def _inside(column: _Column, values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return which values could be of this covariate and have enough digits to be one person's."""
    if not len(column.values):
        return np.zeros(len(values), bool)
    margin = 1 / column.density
    return (_chance(column, values, units) < COARSE) & (values > column.values[0] - margin) & (values < column.values[-1] + margin)


def _least(column: _Column, values: np.ndarray) -> np.ndarray:
    """Return how far a value may lie from the table's although it has more digits: the table is rounded, floats have 32 bits."""
    return np.maximum(column.unit / 2, _EPSILON * np.abs(values)) * (1 + 1e-6)


def _chance(column: _Column, values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the share of people, at most, whose value is the same to the last digit."""
    return 2 * np.maximum(units / 2, _least(column, values)) * column.density


def _agreeing(column: _Column, values: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return place and participant of each agreement.

    A value agrees if it is the participant's rounded to its last digit, or cut off there, or has more digits than the table.
    """
    least = _least(column, values)
    width = np.maximum(units * (1 + 1e-6), least)
    low = np.searchsorted(column.values, values - width)
    high = np.searchsorted(column.values, values + width, side="right")
    counts = high - low
    place = np.repeat(np.arange(len(values)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    found = np.repeat(low, counts) + np.arange(len(place)) - first
    return place, column.order[found]
