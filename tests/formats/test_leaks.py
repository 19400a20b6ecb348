"""Anything of a training scan that is planted in a package is found and named; a clean package passes."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from release_files import GRID, make_results, pack_all, release

from brainldm.core.errors import DataError
from brainldm.formats import leaks
from brainldm.formats.nifti import encode_volume, quantise
from brainldm.formats.tars import write_tar

TRAINING = {"participant_id": ["ukb-1000012", "1000027"], "sex": ["F", "M"], "age_years": [61.3, 55.2]}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    table = pd.DataFrame({**TRAINING, "ventricles_ml": [30.2361, 22.5], "brain_ml": [1598.7513, 1490.1]})
    table.to_csv(tmp_path / "covariates.tsv", sep="\t", index=False)
    (tmp_path / "package").mkdir()
    return tmp_path / "package"


def rows(**changes) -> pd.DataFrame:
    made = {"participant_id": ["sub-000001"], "sex": ["F"], "age_years": [61.0], "ventricles_ml": [30.0], "brain_ml": [1500.0]}
    return pd.DataFrame({**made, **changes})


def volume(description: str) -> bytes:
    return encode_volume(quantise(np.zeros(GRID.shape)), GRID, description)


def volume_with_extension(folder: Path, text: str) -> None:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", text.encode()))
    nib.save(image, folder / "v.nii.gz")


PLANTED = {
    "an id in a text": lambda f: (f / "README.md").write_text("after ukb_1000012, who"),
    "an id of digits": lambda f: (f / "notes.txt").write_text("see 1000027."),
    "a file's name": lambda f: (f / "ukb-1000012.txt").write_text(""),
    "a table's cell": lambda f: rows(note=["ukb-1000012"]).to_csv(f / "participants.tsv", sep="\t"),
    "a Parquet cell": lambda f: rows(path=["/raw/1000027/t1.nii"]).to_parquet(f / "covariates.parquet"),
    "JSON": lambda f: (f / "a.json").write_text('{"a": [{"b": "ukb-1000012"}]}'),
    "a sidecar in a tar": lambda f: write_tar(f / "s.tar", [("a.json", b'{"from": "1000027"}')], 512),
    "a header in a tar": lambda f: write_tar(f / "s.tar", [("a.nii.gz", volume("of ukb-1000012"))], 512),
    "a volume's header": lambda f: (f / "v.nii.gz").write_bytes(volume("1000027")),
    "a header's extension": lambda f: volume_with_extension(f, "ukb-1000012"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_id_is_found(package: Path, planted: str) -> None:
    PLANTED[planted](package)
    with pytest.raises(DataError, match=r"id of a training participant '(ukb-1000012|1000027)'"):
        leaks.check(package, package.parent / "covariates.tsv", rows())


def test_a_row_of_covariates_and_a_folder_are_found(package: Path) -> None:
    covariates = package.parent / "covariates.tsv"
    copied = rows(age_years=[61.3], ventricles_ml=[30.2361], brain_ml=[1598.7513]).astype({"age_years": "float32"})
    with pytest.raises(DataError, match="requested row is that of a training participant"):
        leaks.check(package, covariates, copied)
    (package / "T1w.json").write_text(f'{{"source": "{package.parent}/scan.nii.gz"}}')
    with pytest.raises(DataError, match=r"T1w\.json: folder of this machine"):
        leaks.check(package, covariates, rows())


def test_numbers_are_nobodys_id_and_nor_are_the_released_names(package: Path) -> None:
    covariates = package.parent / "covariates.tsv"
    (package / "README.md").write_text("n = 1000027.5, 0.1000027, 21000027, sub-000001")
    rows(n_bytes=[1000027]).to_csv(package / "participants.tsv", sep="\t")
    (package / "a.json").write_text('{"n_bytes": 1000027}')
    leaks.check(package, covariates, rows())
    covariates.write_text(covariates.read_text().replace("ukb-1000012", "sub-000001"))
    leaks.check(package, covariates, rows())


def test_a_release_with_a_leak_does_not_appear(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    pack_all(results)
    report = results / "report.json"
    report.write_text(report.read_text().replace("two scales", "as in scan ukb-1000012"))
    with pytest.raises(DataError, match=r"README\.md: id of a training participant 'ukb-1000012'"):
        release(results)
    assert not (results / "release").exists()
    assert not list(results.glob(".*"))
