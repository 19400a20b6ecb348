"""A smooth model of the training covariates, so coarse that its parameters single nobody out; requests are drawn from it.

Each sex has its own share, and for each continuous covariate a Beta distribution between two rounded bounds (of the logarithm, for the
ventricles, whose volumes are skewed). A Gaussian copula, one for both sexes, joins them (Nelsen 2006, section 2.3):

    z ~ N(0, R),   u_k = Phi(z_k),   x_k = low_k + (high_k - low_k) * BetaQuantile(u_k; a_k, b_k)

What keeps a single person from showing in it: only means, spreads and correlations enter; values are clipped to the bounds first; every
parameter is rounded to about its standard error; bounds come from inner percentiles and are rounded outward; a sex with few people
shares its distributions with the other. With `epsilon` the sums behind the parameters carry noise that makes them differentially private.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy import special, stats

from brainldm.core.covariates import NAMES, SEX_CODES, Ranges
from brainldm.core.errors import DataError
from brainldm.core.files import read_json
from brainldm.core.private_sums import private_sums
from brainldm.core.requests import CovariateModel

CONTINUOUS = NAMES[1:]
LOGARITHMIC = ("ventricles_ml",)
FEWEST = 5  # training participants
FEWEST_OF_A_SEX = 20  # below, both sexes share their distributions
INNER_PERCENTILES = (2.5, 97.5)
OUTWARD = 0.25  # bounds lie so far outside the inner percentiles, in units of their distance
TYPICAL_SPREAD = 0.25  # of a covariate between its bounds; a mean's standard error is about this over sqrt(n)
MOST_OUTSIDE = 0.05  # share of participants outside public bounds
LARGEST_SCORE = 3.0  # normal scores are clipped there before they are correlated
SUPPORT_QUANTILE = 0.99

Share = Annotated[float, Field(gt=0, lt=1)]
Triple = tuple[float, float, float]
Matrix = tuple[Triple, Triple, Triple]


class Marginal(BaseModel):
    """Mean and standard deviation of a covariate of one sex, where the low bound is 0 and the high bound 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: Share
    spread: Share

    def shape(self) -> tuple[float, float]:
        """Return the parameters (a, b) of the Beta distribution with this mean and spread."""
        concentration = max(self.mean * (1 - self.mean) / self.spread**2 - 1, 0.1)
        return self.mean * concentration, (1 - self.mean) * concentration


class Copula(BaseModel):
    """The model; covariates [N, 4] stand in the order of covariates.NAMES, in years and mL.

    ```python
    model = fit(training_covariates, CovariateModel(), "covariates.tsv")
    rows = model.draw(sex=np.array([0.0]), scores=np.random.default_rng().standard_normal((1, 3)))
    ```
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: dict[str, float]
    high: dict[str, float]
    female_share: float = Field(gt=0, lt=1)
    marginals: dict[str, dict[str, Marginal]]
    correlation: Matrix
    epsilon: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> "Copula":
        for names in (set(self.low), set(self.high), *map(set, self.marginals.values())):
            if names != set(CONTINUOUS):
                raise ValueError(f"needs exactly {', '.join(CONTINUOUS)}")
        if set(self.marginals) != set(SEX_CODES):
            raise ValueError(f"marginals needs exactly {', '.join(SEX_CODES)}")
        if any(not 0 < self.low[name] < self.high[name] < np.inf for name in CONTINUOUS):
            raise ValueError("each high bound must lie above its low bound, and both above 0")
        matrix = np.array(self.correlation)
        if not np.allclose(np.diag(matrix), 1) or not np.allclose(matrix, matrix.T) or np.linalg.eigvalsh(matrix).min() <= 0:
            raise ValueError("correlation must be symmetric and positive definite, with ones on its diagonal")
        return self

    def ranges(self) -> Ranges:
        """Return the published bounds of all four covariates: the scale on which networks see them."""
        low = [self.low[name] for name in CONTINUOUS]
        high = [self.high[name] for name in CONTINUOUS]
        return Ranges((0.0, low[0], low[1], low[2]), (1.0, high[0], high[1], high[2]))

    def draw(self, sex: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return covariates [N, 4] for codes of sex [N] and independent standard normal scores [N, 3]."""
        joined = scores @ np.linalg.cholesky(np.array(self.correlation)).T
        return self.at_scores(sex, joined)

    def at_scores(self, sex: np.ndarray, joined: np.ndarray) -> np.ndarray:
        """Return covariates [N, 4] at the normal scores [N, 3] of their own distributions."""
        rows = np.empty((len(sex), 4))
        rows[:, 0] = sex
        for letter, code in SEX_CODES.items():
            mine = sex == code
            for column, name in enumerate(CONTINUOUS):
                unit = special.betaincinv(*self.marginals[letter][name].shape(), special.ndtr(joined[mine, column]))
                rows[mine, 1 + column] = from_unit(name, unit, self.low, self.high)
        return rows

    def scores(self, covariates: np.ndarray) -> np.ndarray:
        """Return the normal scores [N, 3] of covariates [N, 4]; beyond a bound they are infinite."""
        found = np.empty((len(covariates), 3))
        for letter, code in SEX_CODES.items():
            mine = covariates[:, 0] == code
            for column, name in enumerate(CONTINUOUS):
                unit = to_unit(name, covariates[mine, 1 + column], self.low, self.high).clip(0, 1)
                found[mine, column] = special.ndtri(special.betainc(*self.marginals[letter][name].shape(), unit))
        return found

    def in_support(self, covariates: np.ndarray) -> np.ndarray:
        """Return whether covariates [N, 4] lie where the model puts 99 % of the people of their sex, bool [N].

        The region is an ellipsoid of the normal scores: their squared Mahalanobis distance is chi-squared with three degrees of freedom.
        """
        scores = self.scores(np.asarray(covariates, np.float64))
        finite = np.isfinite(scores).all(axis=1)
        kept = np.where(finite[:, None], scores, 0)
        squared = np.einsum("ni,ij,nj->n", kept, np.linalg.inv(np.array(self.correlation)), kept)
        return np.asarray(finite & (squared <= stats.chi2.ppf(SUPPORT_QUANTILE, 3)))

    def conditional_brain(self, sex: np.ndarray, known: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Return covariates [N, 4] with the ages and ventricular volumes `known` [N, 2], and brain volumes given these and a score [N]."""
        matrix = np.array(self.correlation)
        rows = np.column_stack([sex, known, np.full(len(sex), self.low["brain_ml"])])
        joined = self.scores(rows).clip(-LARGEST_SCORE, LARGEST_SCORE)
        weights = np.linalg.solve(matrix[:2, :2], matrix[:2, 2])
        joined[:, 2] = joined[:, :2] @ weights + np.sqrt(1 - matrix[2, :2] @ weights) * score
        rows[:, 3] = self.at_scores(sex, joined)[:, 3]
        return rows

    def bands(self, name: str, number: int) -> list[float]:
        """Return the edges of `number` bands of a covariate with about as many people each, rounded as the bounds are."""
        inner = np.linspace(0, 1, number + 1)[1:-1]
        grid = np.linspace(self.low[name], self.high[name], 2001)
        below = np.mean([self._share_below(letter, name, grid) for letter in SEX_CODES], axis=0)
        step = _step(self.high[name] - self.low[name]) / 2
        edges = [round(float(np.interp(share, below, grid)) / step) * step for share in inner]
        return sorted({self.low[name], *(edge for edge in edges if self.low[name] < edge < self.high[name]), self.high[name]})

    def _share_below(self, letter: str, name: str, values: np.ndarray) -> np.ndarray:
        unit = to_unit(name, values, self.low, self.high).clip(0, 1)
        return np.asarray(special.betainc(*self.marginals[letter][name].shape(), unit))


def read(path: Path) -> Copula:
    """Read a model that the stage `covariate_model` wrote; DataError if it is something else."""
    try:
        return Copula.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(f"{path} is no model of covariates ({error.errors()[0]['msg']}). Run the stage covariate_model again.") from None


def to_unit(name: str, values: np.ndarray, low: Mapping[str, float], high: Mapping[str, float]) -> np.ndarray:
    """Return values of a covariate where its low bound is 0 and its high bound 1, on its own scale."""
    if name in LOGARITHMIC:
        return np.asarray(np.log(np.maximum(values, 1e-9) / low[name]) / np.log(high[name] / low[name]))
    return np.asarray((values - low[name]) / (high[name] - low[name]))


def from_unit(name: str, unit: np.ndarray, low: Mapping[str, float], high: Mapping[str, float]) -> np.ndarray:
    """Return the values of a covariate that `to_unit` maps to `unit`."""
    if name in LOGARITHMIC:
        return np.asarray(low[name] * (high[name] / low[name]) ** unit)
    return np.asarray(low[name] + (high[name] - low[name]) * unit)


def fit(covariates: np.ndarray, options: CovariateModel, name: str) -> Copula:
    """Fit the model to the training covariates [N, 4] of the table `name`; DataError where they do not vary."""
    continuous = covariates[:, 1:]
    if len(covariates) < FEWEST or np.linalg.matrix_rank(continuous - continuous.mean(0)) < 3:
        spread = continuous.std(0).round(3).tolist() if len(covariates) else []
        raise DataError(
            f"{name}: {len(covariates)} training participants with standard deviations {spread} carry no model of the covariates. "
            f"Age and both volumes must vary, each in its own way, over at least {FEWEST} participants: add scans of others."
        )
    low, high = _bounds(covariates, options.bounds.given(), name)
    unit = np.stack([to_unit(key, covariates[:, 1 + k], low, high).clip(0, 1) for k, key in enumerate(CONTINUOUS)], axis=1)
    budget = options.epsilon and options.epsilon / 2  # half for the distributions, half for their correlation
    count, first, second = _moments(covariates[:, 0], unit, budget)
    share = _rounded(count[0] / count.sum(), 0.5 / np.sqrt(count.sum()))
    if count.min() < FEWEST_OF_A_SEX:
        count, first, second = (np.repeat(sums.sum(axis=0, keepdims=True), 2, axis=0) for sums in (count, first, second))
    marginals = {letter: _marginals(*(sums[int(code)] for sums in (count, first, second))) for letter, code in SEX_CODES.items()}
    model = Copula(
        low=low,
        high=high,
        female_share=float(np.clip(share, 0.05, 0.95)),
        marginals=marginals,
        correlation=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        epsilon=options.epsilon,
    )
    return model.model_copy(update={"correlation": _correlation(model.scores(covariates), budget)})


def _bounds(covariates: np.ndarray, given: Mapping[str, tuple[float, float]], table: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the low and high bound of each covariate: as given, or outside the inner percentiles and rounded outward."""
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for column, name in enumerate(CONTINUOUS, start=1):
        if public := given.get(name):
            low[name], high[name] = public
            _check_public(covariates[:, column], public, name, table)
            continue
        inner = np.percentile(covariates[:, column], INNER_PERCENTILES)
        scale = np.log(inner) if name in LOGARITHMIC else inner
        reach = OUTWARD * max(scale[1] - scale[0], 1e-3)
        ends = scale + [-reach, reach]
        if name in LOGARITHMIC:
            ends = np.exp(ends)
        step = _step(ends[1] - ends[0])
        low[name] = float(np.floor(ends[0] / step) * step)
        high[name] = float(np.ceil(ends[1] / step) * step)
        if low[name] <= 0:
            low[name] = _floor_125(max(ends[0], 1e-3))
    return low, high


def _check_public(values: np.ndarray, public: tuple[float, float], name: str, table: str) -> None:
    """Say how many participants [N] lie outside public bounds, and raise DataError where these are plainly those of other people."""
    outside = float(np.mean((values < public[0]) | (values > public[1])))
    found = f"{table}: {outside:.1%} of the training participants lie outside covariate_model.bounds.{name}, {public[0]:g} to {public[1]:g}"
    if outside > MOST_OUTSIDE:
        raise DataError(f"{found}. Give the bounds of this study, or null to take them from the data.")
    if outside:
        logging.warning("%s: they count as if they lay at the bound", found)


def _step(width: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is at least a tenth of `width`."""
    floor = _floor_125(width / 10)
    return floor if np.isclose(floor, width / 10) else _floor_125(2.5 * floor)


def _floor_125(value: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is at most `value`, which is above 0."""
    power = 10.0 ** np.floor(np.log10(value) + 1e-9)
    return float(max(digit for digit in (1, 2, 5) if digit * power <= value * (1 + 1e-9)) * power)


def _moments(sex: np.ndarray, unit: np.ndarray, epsilon: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, by code of sex, how many people there are [2], and the sums of their unit values and of these squared, each [2, 3]."""
    own = np.column_stack([np.ones(len(unit)), unit, unit**2])
    of_a_sex = np.hstack([own * (sex == code)[:, None] for code in SEX_CODES.values()])
    sums = private_sums(of_a_sex, 7, epsilon).reshape(2, 7)  # a person has one sex
    return np.maximum(sums[:, 0], 1), sums[:, 1:4], sums[:, 4:]


def _marginals(count: float, first: np.ndarray, second: np.ndarray) -> dict[str, Marginal]:
    """Return the distributions of one sex from its number of people and its sums [3], rounded to about their standard errors."""
    error = TYPICAL_SPREAD / np.sqrt(count)
    found: dict[str, Marginal] = {}
    for name, mean, square in zip(CONTINUOUS, first / count, second / count, strict=True):
        centre = float(np.clip(_rounded(mean, error), 0.05, 0.95))
        largest = 0.95 * np.sqrt(centre * (1 - centre))  # a Beta distribution has no wider spread
        spread = _rounded(np.sqrt(max(square - mean**2, 0)), error / 2)
        found[name] = Marginal(mean=centre, spread=float(np.clip(spread, 0.02, largest)))
    return found


def _correlation(scores: np.ndarray, epsilon: float | None) -> Matrix:
    """Return the correlation of normal scores [N, 3], rounded to about its standard error and positive definite."""
    pairs = ((0, 1), (0, 2), (1, 2))
    unit = scores.clip(-LARGEST_SCORE, LARGEST_SCORE) / LARGEST_SCORE
    sums = private_sums(np.stack([unit[:, i] * unit[:, j] for i, j in pairs], axis=1), 3, epsilon)
    matrix = np.eye(3)
    for (i, j), total in zip(pairs, sums * LARGEST_SCORE**2 / len(scores), strict=True):
        fisher = _rounded(np.arctanh(np.clip(total, -0.95, 0.95)), 1 / np.sqrt(len(scores)))  # Fisher 1921: has this standard error
        matrix[i, j] = matrix[j, i] = np.tanh(fisher)
    while np.linalg.eigvalsh(matrix).min() < 0.02:
        matrix = 0.9 * matrix + 0.1 * np.eye(3)
    age_ventricles, age_brain, ventricles_brain = (float(matrix[i, j]) for i, j in pairs)
    return (1, age_ventricles, age_brain), (age_ventricles, 1, ventricles_brain), (age_brain, ventricles_brain, 1)


def _rounded(value: float, error: float) -> float:
    """Return `value` rounded to a multiple of the power of two at or above `error`."""
    step = 2.0 ** np.ceil(np.log2(error))
    return float(np.round(value / step) * step)
