"""Fit the smooth model of the training covariates: requests are drawn from it, and its rounded bounds scale the networks' conditions."""

from pathlib import Path
from typing import Annotated

import typer

from brainldm.core import copula
from brainldm.core.config import read_section
from brainldm.core.covariates import NAMES, covariate_array
from brainldm.core.files import write_json
from brainldm.core.requests import CovariateModel
from brainldm.formats.tables import read_tsv


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates of all scans; those of the split 'train' count")],
    out: Annotated[Path, typer.Option(help="JSON file of the model to write")],
) -> None:
    """Nothing in the file singles a participant out, so that it may be published."""
    options = read_section(section, "covariate_model").own(CovariateModel)
    table = read_tsv(covariates, ("split", *NAMES))
    training = covariate_array(table[table["split"] == "train"], str(covariates))
    write_json(out, copula.fit(training, options, str(covariates)).model_dump(mode="json"))
