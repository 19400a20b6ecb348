"""A whole release passes; whatever is spoilt is named, by file and row."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from release_files import GRID, make_release

from brainldm.core.findings import Finding
from brainldm.formats.nifti import encode_volume, quantise
from brainldm.formats.release_check import check, header_fault

TAR = "shards/000007-000009.tar"


@pytest.fixture(scope="module", params=["files", "tars"])
def made(tmp_path_factory, request) -> Path:
    return make_release(tmp_path_factory.mktemp("results"), packaging=request.param)


@pytest.fixture
def spoilt(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "release"))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def errors(folder: Path) -> list[Finding]:
    return [finding for finding in check(folder) if finding.verdict == "error"]


def test_a_whole_release_passes(made: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "brainldm", "verify", made], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 x 14 x 12 voxels, 12 mm" in done.stdout


def test_a_flipped_byte_is_found_and_named_by_file_and_row(spoilt: Path) -> None:
    row = pd.read_parquet(spoilt / "covariates.parquet").iloc[8]
    in_tar = (spoilt / TAR).exists()
    file = TAR if in_tar else row["path"]
    flip(spoilt / file, int(row["tar_offset"] if in_tar else 0) + 500)
    done = subprocess.run([sys.executable, "-m", "brainldm", "verify", spoilt], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"error: {file}" in done.stdout
    assert "row 8 (sub-000009) is damaged" in " ".join(done.stdout.split())
    assert [(finding.check, finding.found) for finding in errors(spoilt)] == [(file, "row 8 (sub-000009) is damaged")]


def test_files_that_are_damaged_missing_or_strange_are_named(spoilt: Path) -> None:
    flip(spoilt / "README.md", 20)
    (spoilt / "LICENSE").unlink()
    (spoilt / "thesis.tex").write_text("mine")
    assert [finding.check for finding in errors(spoilt)] == ["files", "LICENSE", "README.md"]
    assert any("thesis.tex" in finding.found for finding in check(spoilt))
    flip(spoilt / "covariates.parquet", 100)
    assert any(finding.check == "covariates.parquet" for finding in errors(spoilt))


def test_damage_beside_the_volumes_of_a_tar_is_told_apart(spoilt: Path) -> None:
    if not (spoilt / TAR).exists():
        pytest.skip("of tars only")
    flip(spoilt / TAR, 600)  # in the first sidecar
    flip(spoilt / TAR, -1)
    assert [(finding.check, finding.found) for finding in errors(spoilt)] == [(TAR, "damaged")]


def test_a_table_that_says_something_else_is_found_although_its_checksum_is_right(spoilt: Path) -> None:
    table = (spoilt / "participants.tsv").read_text()
    (spoilt / "participants.tsv").write_text(table.replace("\tF\t", "\tM\t", 1))
    listed = subprocess.run(["sha256sum", "participants.tsv"], cwd=spoilt, capture_output=True, text=True, check=True).stdout
    lines = (spoilt / "checksums.sha256").read_text().splitlines(keepends=True)
    (spoilt / "checksums.sha256").write_text("".join(listed if "participants.tsv" in line else line for line in lines))
    assert [finding.cause for finding in errors(spoilt)] == ["participants.tsv does not say the same"]


def test_headers_that_are_not_ours_are_refused() -> None:
    first: dict = {}
    counts = quantise(np.zeros(GRID.shape))
    good = nib.Nifti1Header(gzip.decompress(encode_volume(counts, GRID, "SYNTHETIC"))[:348], check=False)
    assert header_fault(good, first) == ""
    other = GRID.model_copy(update={"spacing_mm": 11.0})
    for content, fault in (
        (encode_volume(counts, other, "SYNTHETIC"), "another grid"),
        (encode_volume(counts, GRID, "T1w of somebody"), "no word that it is synthetic"),
    ):
        assert fault in header_fault(nib.Nifti1Header(gzip.decompress(content)[:348], check=False), first)
    good["srow_x"][3] += 5
    assert header_fault(good, first) == "qform and sform differ"
