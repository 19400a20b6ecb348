"""The section `request` of the configuration: which volumes are wanted."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from brainldm.core.covariates import NAMES
from brainldm.core.section import LabPath, Section


def _bands(given: int | tuple[float, ...]) -> int | tuple[float, ...]:
    if given < 1 if isinstance(given, int) else len(given) < 2 or any(low >= high for low, high in pairwise(given)):
        raise ValueError("expected a number of bands, or their edges in rising order")
    return given


Bands = Annotated[int | tuple[float, ...], AfterValidator(_bands)]


class Values(Section):
    """Lists of values of the covariates."""

    sex: tuple[Literal["F", "M"], ...] = ()
    age_years: tuple[float, ...] = ()
    ventricles_ml: tuple[float, ...] = ()
    brain_ml: tuple[float, ...] = ()

    def listed(self) -> dict[str, tuple[str | float, ...]]:
        """The lists that are not empty, in the order of NAMES."""
        return {name: values for name in NAMES if (values := getattr(self, name))}


class PublicBounds(Section):
    """Low and high bound of covariates, where they are public knowledge, such as a study's ages of inclusion."""

    age_years: tuple[float, float] | None = None
    ventricles_ml: tuple[float, float] | None = None
    brain_ml: tuple[float, float] | None = None

    def given(self) -> dict[str, tuple[float, float]]:
        """Return the bounds that are given, by covariate."""
        return {name: found for name in NAMES[1:] if (found := getattr(self, name))}

    @model_validator(mode="after")
    def _checked(self) -> "PublicBounds":
        for name, (low, high) in self.given().items():
            if not 0 < low < high < float("inf"):
                raise ValueError(f"covariate_model.bounds.{name}: needs a low bound above 0 and a high bound above it")
        return self


class CovariateModel(Section):
    """The smooth model of the training covariates, from which requests are drawn (core.copula)."""

    bounds: PublicBounds = Field(PublicBounds(), description="public bounds, in years and mL; null: from the data, rounded outward")
    epsilon: float | None = Field(
        None, gt=0, description="budget of differential privacy; needs `bounds` of all three covariates. null: no noise"
    )

    @model_validator(mode="after")
    def _checked(self) -> "CovariateModel":
        if self.epsilon is not None and len(self.bounds.given()) < 3:
            raise ValueError("covariate_model.epsilon needs covariate_model.bounds of all covariates: bounds from the data are not private")
        return self


class RequestDesign(Section):
    """How a row's covariates are drawn; all that a shard of requests depends on, so growth re-runs none."""

    design: Literal["copula", "empirical", "uniform", "stratified", "grid", "paired", "table"] = "copula"
    jitter: float = Field(0.1, ge=0.01, description="empirical: kernel bandwidth, in standard deviations of each covariate")
    age_bands: Bands = Field(3, description="stratified: number of bands with as many people each, or edges in years")
    ventricle_bands: Bands = Field(3, description="stratified: number of bands with as many people each, or edges in mL")
    values: Values = Field(Values(), description="grid: those of every covariate; paired: those of the one that moves")
    table: LabPath | None = Field(None, description="table: CSV, TSV or Parquet with a row per volume")

    @model_validator(mode="after")
    def _complete(self) -> "RequestDesign":
        listed = self.values.listed()
        if self.design == "grid" and set(listed) != set(NAMES):
            raise ValueError(f"request.design is 'grid', so request.values must list {', '.join(NAMES)}")
        if self.design == "paired" and [len(values) > 1 for values in listed.values()] != [True]:
            raise ValueError("request.design is 'paired', so request.values must list two or more values of one covariate and no other")
        if self.design == "table" and not self.table:
            raise ValueError("request.design is 'table', so request.table must name a CSV, TSV or Parquet file")
        return self


class Request(RequestDesign):
    """The table of volumes wanted."""

    key: LabPath | None = Field(
        None,
        description="file of the secret key of the requests; null: private/request.key, made at the first run (the demo has a fixed one)",
    )

    n_rows: int = Field(gt=0)
    rows_per_shard: int = Field(gt=0)
