"""Write the covariates of the volumes wanted: one shard of the request table, each row addressed by (seed, index) alone."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from brainldm.core.columns import REQUESTED
from brainldm.core.config import read_section
from brainldm.core.covariates import NAMES, SEX_CODES, covariate_array
from brainldm.core.design import draw, population, support_distance
from brainldm.core.requests import RequestDesign
from brainldm.core.rows import participant_id, shard_rows
from brainldm.formats.request_table import read_wanted
from brainldm.formats.tables import arrow_schema, read_tsv, write_parquet


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates of the training scans")],
    shard: Annotated[str, typer.Option(help="first and last row, such as 000000-000249")],
    out: Annotated[Path, typer.Option(help="Parquet table to write")],
    table: Annotated[Path | None, typer.Option(help="the user's own rows, for the design 'table'")] = None,
) -> None:
    """The rows of one shard, drawn from the training scans' covariates by the design of the section."""
    given = read_section(section, "request")
    wanted = given.own(RequestDesign)
    scans = read_tsv(covariates, ("split", *NAMES))
    people = population(covariate_array(scans[scans["split"] == "train"], str(covariates)), str(covariates))
    indices = shard_rows(shard)
    rows = draw(people, given.seed, indices, wanted, None if table is None else read_wanted(table))
    drawn = np.stack([row.covariates for row in rows]).astype(np.float32)
    distance, letters = support_distance(people, drawn), {code: letter for letter, code in SEX_CODES.items()}
    columns = {
        "index": indices,
        "participant_id": [participant_id(index) for index in indices],
        "seed": given.seed,
        "noise_index": [row.noise_index for row in rows],
        **dict(zip(NAMES, drawn.T, strict=True)),
        "sex": [letters[code] for code in drawn[:, 0]],
        "in_support": distance <= 1,
        "support_distance": distance,
        "design": wanted.design,
        "cell": [row.cell for row in rows],
    }
    frame = pd.DataFrame(columns)[[column.name for column in REQUESTED]]
    write_parquet(out, frame, arrow_schema(REQUESTED))
