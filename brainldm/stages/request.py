"""Write the covariates of the volumes wanted: one shard of the request table, each row addressed by (key, seed, index) alone."""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from brainldm.core import copula, request_key
from brainldm.core.columns import REQUESTED
from brainldm.core.config import read_section
from brainldm.core.covariates import NAMES, SEX_CODES, covariate_array
from brainldm.core.design import Sources, draw
from brainldm.core.requests import RequestDesign
from brainldm.core.rows import participant_id, shard_rows
from brainldm.formats.request_table import read_wanted
from brainldm.formats.tables import arrow_schema, read_tsv, write_parquet


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    model: Annotated[Path, typer.Option(help="model of the training covariates, from the stage covariate_model")],
    key: Annotated[str, typer.Option(help="file of the secret key; 'demo' for that of the embedded population")],
    shard: Annotated[str, typer.Option(help="first and last row, such as 000000-000249")],
    out: Annotated[Path, typer.Option(help="Parquet table to write")],
    covariates: Annotated[Path | None, typer.Option(help="table of the training covariates, for the design 'empirical'")] = None,
    table: Annotated[Path | None, typer.Option(help="the user's own rows, for the design 'table'")] = None,
) -> None:
    """Draw the rows of one shard by the design of the section."""
    given = read_section(section, "request")
    wanted = given.own(RequestDesign)
    if wanted.design == "empirical":
        logging.warning("request.design 'empirical' gives covariates of training participants away (docs/privacy.md); prefer 'copula'")
    sources = Sources(
        model=copula.read(model),
        key=request_key.DEMO_KEY if key == request_key.DEMO else request_key.read(Path(key)),
        seed=given.seed,
        training=_training(covariates) if covariates and wanted.design == "empirical" else None,
        listed=read_wanted(table) if table else None,
    )
    indices = shard_rows(shard)
    rows = draw(sources, indices, wanted)
    drawn = np.stack([row.covariates for row in rows]).astype(np.float32)
    letters = {code: letter for letter, code in SEX_CODES.items()}
    columns = {
        "index": indices,
        "participant_id": [participant_id(index) for index in indices],
        "seed": given.seed,
        "noise_index": [row.noise_index for row in rows],
        **dict(zip(NAMES, drawn.T, strict=True)),
        "sex": [letters[code] for code in drawn[:, 0]],
        "in_support": sources.model.in_support(drawn),
        "design": wanted.design,
        "cell": [row.cell for row in rows],
    }
    frame = pd.DataFrame(columns)[[column.name for column in REQUESTED]]
    write_parquet(out, frame, arrow_schema(REQUESTED))


def _training(path: Path) -> np.ndarray:
    scans = read_tsv(path, ("split", *NAMES))
    return covariate_array(scans[scans["split"] == "train"], str(path))
