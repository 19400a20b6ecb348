"""Anything of a training scan that is planted in a release is found and named; innocent releases pass."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from leak_plants import FORMS, SPELLINGS, arrow, parquet, people, put

from brainldm.core.errors import DataError
from brainldm.formats.leaks.check import check, findings

IDS = ["sub-0123", "sub-0007", "ukb-1000012", "1000027", "sub-NDARINV003RTV85", *(f"sub-{i:04d}" for i in range(200, 240))]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    people(IDS).to_csv(tmp_path / "covariates.tsv", sep="\t", index=False)
    (tmp_path / "release").mkdir()
    parquet(tmp_path / "release", arrow())
    return tmp_path / "release"


def found_in(release: Path, **options) -> list[str]:
    return [str(finding) for finding in findings(release, release.parent / "covariates.tsv", **options)]


@pytest.mark.parametrize("form", FORMS)
def test_an_id_is_found_in_every_form(release: Path, form: str) -> None:
    FORMS[form](release, "sub-0123")
    assert any("'sub-0123'" in line for line in found_in(release))


@pytest.mark.parametrize("form", [form for form in FORMS if not form.startswith("behind")])
@pytest.mark.parametrize("label", ["0123", "1000027"])
def test_a_bare_label_is_found_in_every_form(release: Path, form: str, label: str) -> None:
    FORMS[form](release, label)
    assert any("'sub-0123'" in line or "'1000027'" in line for line in found_in(release))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("value", ["sub-0123", "ukb-1000012", "sub-NDARINV003RTV85"])
def test_an_id_is_found_in_every_spelling(release: Path, spelling: str, value: str) -> None:
    put(release, "README.md", f"see {SPELLINGS[spelling](value)} there")
    assert any(f"'{value}'" in line for line in found_in(release))
