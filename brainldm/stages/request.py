"""Write the covariates of the volumes wanted: one shard of the request table, each row addressed by (seed, index) alone."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from brainldm.core.columns import REQUESTED
from brainldm.core.config import RequestDesign, read_section
from brainldm.core.covariates import NAMES, SEX_CODES, covariate_array
from brainldm.core.design import draw, in_support, population
from brainldm.core.rows import participant_id, shard_rows
from brainldm.formats.tables import arrow_schema, read_tsv, write_parquet


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates of the training scans")],
    shard: Annotated[str, typer.Option(help="first and last row, such as 000000-000249")],
    out: Annotated[Path, typer.Option(help="Parquet table to write")],
) -> None:
    """The rows of one shard, drawn from the training scans' covariates by the design of the section."""
    given = read_section(section, "request")
    wanted = given.own(RequestDesign)
    table = read_tsv(covariates, ("split", *NAMES))
    people = population(covariate_array(table[table["split"] == "train"], str(covariates)), str(covariates))
    rows = shard_rows(shard)
    drawn = draw(people, given.seed, rows, wanted.design, wanted.jitter)
    letters = {code: letter for letter, code in SEX_CODES.items()}
    columns = {
        "index": rows,
        "participant_id": [participant_id(index) for index in rows],
        "seed": given.seed,
        **dict(zip(NAMES, drawn.T, strict=True)),
        "sex": [letters[code] for code in drawn[:, 0]],
        "in_support": in_support(people, drawn),
        "design": wanted.design,
    }
    frame = pd.DataFrame(columns)[[column.name for column in REQUESTED]]
    write_parquet(out, frame, arrow_schema(REQUESTED))
