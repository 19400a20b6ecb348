"""Covariates of a requested row: a function of (secret key, seed, row index, model of the training covariates, options of the design).

How the covariates of the 100,000 volumes of Pinaya et al. 2022 were drawn is unpublished; all designs here are ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from brainldm.core.copula import Copula
from brainldm.core.covariates import NAMES, SEX_CODES
from brainldm.core.errors import DataError
from brainldm.core.request_key import row_generator
from brainldm.core.requests import Bands, RequestDesign


class Row(NamedTuple):
    """What is asked of one row: covariates [4] in the order of NAMES, the index that keys its noise, and its cell of the design."""

    covariates: np.ndarray
    noise_index: int
    cell: str = ""


@dataclass(frozen=True)
class Sources:
    """Hold what rows are drawn from; `training` [N, 4] is for the design `empirical` only, `listed` [N, 4] is the user's own table."""

    model: Copula
    key: bytes
    seed: int
    training: np.ndarray | None = None
    listed: np.ndarray | None = None

    def generator(self, index: int) -> np.random.Generator:
        """Return the generator of one row; it depends on no other row."""
        return row_generator(self.key, self.seed, index)


Drawn = Callable[[int], Row]


def draw(sources: Sources, indices: Iterable[int], options: RequestDesign) -> list[Row]:
    """Return the rows `indices`; each has its own generator, so it depends neither on its neighbours nor on the number of rows."""
    row = DESIGNS[options.design](sources, options)
    return [row(index) for index in indices]


def _person(sources: Sources, index: int) -> np.ndarray:
    """Return covariates [4] of somebody who might be in the population, but of nobody who is."""
    generator = sources.generator(index)
    sex = np.array([SEX_CODES["F" if generator.random() < sources.model.female_share else "M"]])
    return np.asarray(sources.model.draw(sex, generator.standard_normal((1, 3)))[0])


def _copula(sources: Sources, options: RequestDesign) -> Drawn:
    return lambda index: Row(_person(sources, index), index)


def _empirical(sources: Sources, options: RequestDesign) -> Drawn:
    """Draw a participant's covariates, jittered as the population varies and shrunk so that its covariance stays (Silverman 1986, 6.4.1).

    This gives participants away (docs/privacy.md).
    """
    people, jitter = sources.training, options.jitter
    if people is None:
        raise DataError("The design 'empirical' needs the table of training covariates: give --covariates.")
    mean = people[:, 1:].mean(0)
    factor = np.linalg.cholesky(np.cov(people[:, 1:], rowvar=False))

    def row(index: int) -> Row:
        generator = sources.generator(index)
        sex, *values = people[generator.integers(len(people))]
        moved = values - mean + jitter * factor @ generator.standard_normal(3)
        return Row(np.array([sex, *(mean + moved / np.sqrt(1 + jitter**2))]), index)

    return row


def _uniform(sources: Sources, options: RequestDesign) -> Drawn:
    """Draw independent uniforms between the model's rounded bounds, and a fair sex."""
    ranges = sources.model.ranges()

    def row(index: int) -> Row:
        generator = sources.generator(index)
        values = generator.uniform(ranges.low[1:], ranges.high[1:])
        return Row(np.array([generator.integers(2), *values]), index)

    return row


def _stratified(sources: Sources, options: RequestDesign) -> Drawn:
    """Draw cell `index` modulo their number; age and ventricles uniform in its bands, brain volume as the model expects given both."""
    model = sources.model
    ages = edges(options.age_bands, model, "age_years")
    ventricles = edges(options.ventricle_bands, model, "ventricles_ml")
    cells = list(product(SEX_CODES.items(), pairwise(ages), pairwise(ventricles)))

    def row(index: int) -> Row:
        (sex, code), age, volume = cells[index % len(cells)]
        generator = sources.generator(index)
        known = generator.uniform([age[0], volume[0]], [age[1], volume[1]])
        covariates = model.conditional_brain(np.array([code]), known[None], generator.standard_normal(1))[0]
        name = f"{sex}, {age[0]:.4g}-{age[1]:.4g} years, ventricles {volume[0]:.4g}-{volume[1]:.4g} mL"
        return Row(covariates, index, name)

    return row


def edges(bands: Bands, model: Copula, name: str) -> list[float]:
    """Return the edges of bands: as given, or rounded quantiles of the model; those that coincide make one band less."""
    return model.bands(name, bands) if isinstance(bands, int) else list(bands)


def _grid(sources: Sources, options: RequestDesign) -> Drawn:
    """Take every combination of the listed values in turn, each time with noise of its own."""
    cells = list(product(*options.values.listed().values()))

    def row(index: int) -> Row:
        sex, age, ventricles, brain = cells[index % len(cells)]
        name = f"{sex}, {age:g} years, ventricles {ventricles:g} mL, brain {brain:g} mL"
        return Row(np.array([SEX_CODES[str(sex)], age, ventricles, brain], float), index, name)

    return row


def _paired(sources: Sources, options: RequestDesign) -> Drawn:
    """Make groups of rows: a brain of the model and its noise, which is the first row's, under every listed value of one covariate."""
    ((name, values),) = options.values.listed().items()

    def row(index: int) -> Row:
        first, value = index - index % len(values), values[index % len(values)]
        covariates = _person(sources, first)
        covariates[NAMES.index(name)] = SEX_CODES[value] if isinstance(value, str) else value
        return Row(covariates, first, f"{name} {value}")

    return row


def _table(sources: Sources, options: RequestDesign) -> Drawn:
    listed = sources.listed

    def row(index: int) -> Row:
        if listed is None or index >= len(listed):
            found = "no table" if listed is None else f"one of {len(listed)} rows"
            raise DataError(f"request.table: expected a table with row {index} (counted from 0), found {found}; lower request.n_rows")
        return Row(listed[index], index)

    return row


DESIGNS: dict[str, Callable[[Sources, RequestDesign], Drawn]] = {
    "copula": _copula,
    "empirical": _empirical,
    "uniform": _uniform,
    "stratified": _stratified,
    "grid": _grid,
    "paired": _paired,
    "table": _table,
}
