"""A folder to plant things in, beside the table of the people whom none of them may name."""

from pathlib import Path
from typing import Any

from leak_plants import arrow, parquet, people

from brainldm.formats.leaks.check import findings

IDS = ["sub-0123", "sub-0007", "ukb-1000012", "1000027", "sub-NDARINV003RTV85", *(f"sub-{i:04d}" for i in range(200, 240))]


def make_folder(folder: Path) -> Path:
    """A release that holds its table alone, and covariates.tsv of the people beside it."""
    people(IDS).to_csv(folder / "covariates.tsv", sep="\t", index=False)
    (folder / "release").mkdir()
    parquet(folder / "release", arrow())
    return folder / "release"


def found_in(release: Path, **options: Any) -> list[str]:
    return [str(finding) for finding in findings(release, release.parent / "covariates.tsv", **options)]
