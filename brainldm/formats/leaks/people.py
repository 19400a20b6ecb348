"""Covariates of participants among numbers: values of one person that stand together and agree in more digits than chance explains."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from brainldm.formats.leaks.pieces import Records

CHANCE = 2e-3  # a row is a finding if chance alone would give less than so many like it in that kind of file
COARSE = 0.02  # a value that more than this share of people has is no sign of one
_AT_ONCE = 200_000  # numbers that are compared at once
_MOST_COLUMNS = 6
_OTHER_UNITS = {"_years": (1.0, 1 / 12, 1 / 365.25), "_ml": (1.0, 1e-3, 1e3)}  # months and days; mm3 and litres
_EPSILON = 6e-8  # relative, of 32-bit floats


class Match(NamedTuple):
    """A record that agrees with a participant in the covariates `columns`; `log_chance` is of one comparison."""

    place: str
    participant: str
    columns: tuple[str, ...]
    log_chance: float


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
        self.compared: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(self.subsets)))
        self.matches: dict[str, list[Match]] = defaultdict(list)
        self._waiting: dict[tuple[str, bool], list[Records]] = defaultdict(list)
        self._n_waiting = 0

    def add(self, family: str, records: Records) -> None:
        """Compare records; `family` is the kind of file that they stand in, whose comparisons count together."""
        if not self.subsets or records.values.size < 2:
            return
        self._waiting[family, records.scaled].append(records)
        self._n_waiting += records.values.size
        if self._n_waiting > _AT_ONCE:
            self._compare()

    def found(self) -> Iterator[tuple[str, Match]]:
        """Yield family and match of every record that chance does not explain."""
        self._compare()
        for family, matches in self.matches.items():
            for match in matches:
                subset = tuple(index for index, column in enumerate(self.columns) if column.name in match.columns)
                expected = self.compared[family][self.subsets.index(subset)] * len(self.participants) * np.exp(match.log_chance)
                if expected < CHANCE:
                    yield family, match

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
        """Count the comparisons of a family, and keep the records that agree with a participant in two covariates or more."""
        counts = np.zeros((len(places), len(self.columns)))
        hits = []
        for index, column in enumerate(self.columns):
            for scale in column.scales if scaled else (1.0,):
                inside = _inside(column, values * scale, units * scale)
                counts[:, index] += np.bincount(record[inside], minlength=len(places))
                place, person, chance = _agreeing(column, values[inside] * scale, units[inside] * scale)
                where = np.flatnonzero(inside)[place]
                hits.append(np.stack([record[where], person, np.full(len(where), index), where, chance], axis=1))
        self.compared[family] += [float(counts[:, subset].prod(axis=1).sum()) for subset in self.subsets]
        self.matches[family] += self._together(places, np.concatenate(hits))

    def _together(self, places: list[str], hits: np.ndarray) -> Iterator[Match]:
        """Yield what agrees with one participant in one record, in two columns or more, each with a number of its own."""
        hits = hits[np.lexsort((hits[:, 4], hits[:, 1], hits[:, 0]))]
        edges = np.flatnonzero(np.any(np.diff(hits[:, :2], axis=0) != 0, axis=1)) + 1
        starts = np.concatenate([[0], edges]).astype(int)
        ends = np.concatenate([edges, [len(hits)]]).astype(int)
        for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
            used: dict[int, tuple[int, float]] = {}
            for _, _, column, number, chance in hits[start:end]:
                taken = {place for place, _ in used.values()}
                if int(column) not in used and int(number) not in taken:
                    used[int(column)] = (int(number), float(chance))
            if len(used) > 1:
                names = tuple(self.columns[column].name for column in sorted(used))
                total = sum(chance for _, chance in used.values())
                yield Match(places[int(hits[start, 0])], self.participants[int(hits[start, 1])], names, total)


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
    telling = 2 * np.maximum(units / 2, _least(column, values)) * column.density < COARSE
    return telling & (values > column.values[0] - margin) & (values < column.values[-1] + margin)


def _least(column: _Column, values: np.ndarray) -> np.ndarray:
    """Return how far a value may lie from the table's although it has more digits: the table is rounded, floats have 32 bits."""
    return np.maximum(column.unit / 2, _EPSILON * np.abs(values)) * (1 + 1e-6)


def _agreeing(column: _Column, values: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return place, participant and logarithm of the chance of each agreement.

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
    apart = np.abs(column.values[found] - values[place])
    rounded = np.maximum(units[place] / 2 * (1 + 1e-6), least[place])
    reach = np.where(apart <= rounded, rounded, width[place])
    return place, column.order[found], np.log(np.minimum(1.0, 2 * reach * column.density))
