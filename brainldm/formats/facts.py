"""What every text about a release says: taken from the run, once."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from brainldm.core import columns
from brainldm.core.columns import DRAWN, MEASURED, REQUESTED, Column
from brainldm.core.copula import Copula
from brainldm.core.covariates import NAMES, UNITS
from brainldm.core.grid import Grid
from brainldm.core.publication import Release

_HIDDEN = ("index", "participant_id", "seed", "noise_index")
DESCRIBED = tuple(column for column in (*REQUESTED, *DRAWN, *MEASURED) if column.name not in _HIDDEN)
PAPER = "https://doi.org/10.1007/978-3-031-18576-2_12"
SYNTHETIC = "SYNTHETIC: drawn from a latent diffusion model; nobody was scanned"
NOT_CLINICAL = "For research on methods. Not for clinical use: no volume shows a person, and none may inform the care of one."
WARNING = (
    "**Warning: rows of the design `empirical` stand near to the covariates of single training participants, and tell who took part "
    "(docs/privacy.md of brainldm).**"
)
_AUDIT = (
    "audit",
    "copy",
    "copies",
    "planted",
    "nearest",
    "membership",
    "table_audit",
    "released_despite",
)  # how keys of the privacy audits begin


@dataclass(frozen=True)
class Facts:
    """A release: its settings, the table of its rows (without previews), the evaluation's report, and what made the volumes."""

    own: Release
    name: str
    packaging: str
    grid: Grid
    table: pd.DataFrame
    report: dict[str, Any]
    provenance: dict[str, Any]
    covariate_model: Copula  # that requests were drawn from
    version: str  # of the package that made it

    @property
    def title(self) -> str:
        """One line for catalogues."""
        return f"{self.name}: {len(self.table):,} synthetic T1-weighted brain MRI volumes"

    @property
    def summary(self) -> str:
        """Two sentences for catalogues."""
        return (
            f"{len(self.table):,} synthetic T1-weighted brain volumes of {' x '.join(map(str, self.grid.shape))} voxels of "
            f"{self.grid.spacing_mm:g} mm, drawn from a latent diffusion model conditioned on age, sex, ventricular and brain volume. "
            f"Nobody was scanned. {NOT_CLINICAL}"
        )

    @property
    def license_url(self) -> str:
        """Where the licence of the data stands."""
        return f"https://spdx.org/licenses/{self.own.license}.html"

    @property
    def measured_numbers(self) -> list[Column]:
        """Numeric columns that tell of a volume: requested covariates, then measured ones."""
        return [column for column in DESCRIBED if column.kind == "float32" and (column.unit or column.name in NAMES)]

    @property
    def audit(self) -> dict[str, Any]:
        """What the evaluation found about copies of training scans."""
        return {key: value for key, value in self.report.items() if key.startswith(_AUDIT)}

    @property
    def requests(self) -> str:
        """How the covariates were drawn, and what that means for the people behind them; Markdown."""
        model = self.covariate_model
        designs = "; ".join(f"`{name}`: {columns.DESIGNS.get(name, 'unknown')}" for name in sorted(set(self.table["design"])))
        bounds = "; ".join(f"{name} {model.low[name]:g} to {model.high[name]:g} ({UNITS[name]})" for name in NAMES[1:])
        budget = "none" if model.epsilon is None else f"epsilon {model.epsilon:g}"
        warning = f"\n\n{WARNING}" if "empirical" in set(self.table["design"]) else ""
        return (
            f"Design of the requests: {designs}. Rounded bounds of the training covariates: {bounds}. Differential privacy of the model "
            f"of the covariates: {budget}. The model stands in `covariate_model.json`; the random numbers come from a secret key.{warning}"
        )

    @property
    def failures(self) -> dict[str, int]:
        """How many volumes failed the quality control, by reason."""
        reasons = self.table["qc_reason"][~self.table["qc_pass"]]
        return {str(reason): int(count) for reason, count in sorted(reasons.value_counts().items())}


def figure(value: Any) -> str:
    """A figure of the report, for people."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {figure(one)}" for key, one in value.items())
    if isinstance(value, list):
        return " to ".join(map(figure, value)) if len(value) == 2 else ", ".join(map(figure, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def figures_table(figures: dict[str, Any]) -> str:
    """Figures as a table in Markdown."""
    rows = "\n".join(f"| {key} | {figure(value)} |" for key, value in figures.items())
    return f"| figure | value |\n|---|---|\n{rows}" if rows else "none"
