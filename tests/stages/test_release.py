import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from held import held_command
from PIL import Image
from release_files import GRID, SHARDS, digests, make_results, pack_args, release

from brainldm.core.errors import DataError

SHA256SUM = ["sha256sum", "--check", "--strict", "--quiet", "checksums.sha256"]
OTHERS = {"checksums.sha256", "tiny-1.torrent"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A results folder with a release of files, made by the command line."""
    results = make_results(tmp_path_factory.mktemp("results"))
    for shard in SHARDS:
        names = ("--section", "--request", "--shard", "--measure", "--out")
        subprocess.run(command("pack", zip(names, pack_args(results, shard), strict=True)), check=True)
    options = [
        ("--section", "release.json"),
        ("--report", "report.json"),
        ("--covariates", "covariates.tsv"),
        ("--page", "report-public.html"),
        ("--covariate-model", "model.json"),
    ]
    options += [("--pack", f"pack/{shard}.json") for shard in SHARDS] + [("--out", "release/checksums.sha256")]
    subprocess.run(command("release", [(name, results / path) for name, path in options]), check=True)
    return results


def command(stage: str, options) -> list[str]:
    return [sys.executable, "-m", "brainldm", stage, *(str(word) for pair in options for word in pair)]


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "results"))


def test_the_volumes_are_the_shards_own(made: Path) -> None:
    volumes = sorted((made / "release").glob("sub-*/anat/*_T1w.nii.gz"))
    assert len(volumes) == 10
    packed = {}
    for shard in SHARDS:
        with tarfile.open(made / "generate" / f"{shard}.tar") as tar:
            packed |= {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    assert {str(path.relative_to(made / "release")): path.read_bytes() for path in volumes} == packed
    sidecar = json.loads(volumes[3].with_name("sub-000004_T1w.json").read_text())
    row = pd.read_parquet(made / "release" / "covariates.parquet").iloc[3]
    assert sidecar["voxel_sha256"] == row["voxel_sha256"]
    assert np.float32(sidecar["age_years"]) == row["age_years"]
    assert sidecar["qc_pass"] is False
    image = nib.load(volumes[0])
    assert np.allclose(image.affine, GRID.affine)
    assert image.shape == GRID.shape


def test_sha256sum_accepts_every_file_and_finds_a_flipped_byte(made: Path, results: Path) -> None:
    folder = results / "release"
    listed = {line[66:] for line in (folder / "checksums.sha256").read_text().splitlines()}
    assert listed == set(digests(folder)) - OTHERS
    subprocess.run(SHA256SUM, cwd=folder, check=True)
    volume = folder / "sub-000002" / "anat" / "sub-000002_T1w.nii.gz"
    content = bytearray(volume.read_bytes())
    content[50] ^= 1
    volume.write_bytes(content)
    refused = subprocess.run(SHA256SUM, cwd=folder, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "sub-000002_T1w.nii.gz: FAILED" in refused.stdout


def test_the_table_joins_what_was_requested_measured_and_stored(made: Path) -> None:
    table = pd.read_parquet(made / "release" / "covariates.parquet")
    assert table["index"].tolist() == list(range(10))
    assert np.allclose(table["measured_ventricles_ml"], table["ventricles_ml"] + 1)
    assert table["qc_pass"].tolist() == [index != 3 for index in range(10)]
    assert (table["attempt"].unique().tolist(), table["rejected"].unique().tolist()) == ([0], [""])
    assert table["shard"].tolist() == [SHARDS[0]] * 7 + [SHARDS[1]] * 3
    files = digests(made / "release")
    assert [files[path] for path in table["path"]] == table["sha256"].tolist()
    assert table["tar_offset"].isna().all(), "volumes that lie as files have no place in a tar"
    assert all(Image.open(io.BytesIO(png)).size == (12, 14) for png in table["preview"])
    request = pd.concat([pd.read_parquet(made / "request" / f"{shard}.parquet") for shard in SHARDS], ignore_index=True)
    assert (table[request.columns] == request).all(axis=None), "requested values must be exact: rows are regenerated from them"
    schema = pq.read_schema(made / "release" / "covariates.parquet")
    units = {field.name: field.metadata[b"unit"].decode() for field in schema if b"unit" in field.metadata}
    assert {name: unit for name, unit in units.items() if unit != "mL"} == {
        "age_years": "year",
        "age_predicted_years": "year",
        "age_spread_years": "year",
        "tar_offset": "byte",
        "n_bytes": "byte",
    }
    assert {name for name in schema.names if name.endswith("_ml")} == {name for name, unit in units.items() if unit == "mL"}
    assert json.loads(schema.field("sex").metadata[b"levels"]) == {"F": "female", "M": "male"}


def test_every_participants_column_is_described(made: Path) -> None:
    table = pd.read_csv(made / "release" / "participants.tsv", sep="\t", dtype=str, keep_default_na=False)
    sidecar = json.loads((made / "release" / "participants.json").read_text())
    assert list(table.columns[:3]) == ["participant_id", "age", "sex"]
    assert set(table.columns) - {"participant_id"} == set(sidecar) - {"Description"}
    numbers = [name for name in table.columns if pd.to_numeric(table[name], errors="coerce").notna().all()]
    for name in table.columns[1:]:
        assert sidecar[name]["Description"]
        assert ("Units" in sidecar[name]) == (name in numbers and name != "attempt")  # a count
        if "Levels" in sidecar[name]:
            assert set(table[name]) <= set(sidecar[name]["Levels"])
    assert table["qc_reason"].tolist() == ["n/a"] * 3 + ["empty"] + ["n/a"] * 6
    assert float(table["age"][0]) == pytest.approx(pd.read_parquet(made / "release" / "covariates.parquet")["age_years"][0])


def test_the_real_bids_validator_finds_no_error(results: Path) -> None:
    pytest.importorskip("bids_validator_deno", reason="bids-validator-deno is not installed")
    validator = Path(sys.executable).with_name("bids-validator-deno")
    command = [validator, results / "release", "--max-rows=-1", "--format", "json"]
    accepted = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(accepted.stdout)
    assert accepted.returncode == 0, accepted.stdout
    assert len(found["summary"]["subjects"]) == 10
    assert [issue["code"] for issue in found["issues"]["issues"]] == ["TOO_FEW_AUTHORS"]  # a warning: nobody is named
    (results / "release" / "T1w.json").unlink()
    assert subprocess.run(command, capture_output=True).returncode != 0, "a validator that accepts everything shows nothing"


def test_made_again_it_is_the_same_and_holds_nothing_stale(made: Path, results: Path) -> None:
    smaller = digests(release(results, SHARDS[:1]))
    assert len(smaller) < len(digests(made / "release"))
    assert digests(release(results)) == digests(made / "release")
    assert digests(release(results, SHARDS[:1])) == smaller


def test_a_release_that_is_killed_while_it_is_made_is_the_same_when_made_again(made: Path, results: Path) -> None:
    options = [
        ("--section", "release.json"),
        ("--report", "report.json"),
        ("--covariates", "covariates.tsv"),
        ("--page", "report-public.html"),
        ("--covariate-model", "model.json"),
    ]
    options += [("--pack", f"pack/{shard}.json") for shard in SHARDS] + [("--out", "release/checksums.sha256")]
    words = command("release", [(name, results / path) for name, path in options])
    with subprocess.Popen(held_command(words, results.parent / "hold", "*release")) as process:
        while not list((results / ".fresh.release").glob("sub-000005")):
            assert process.poll() is None, "it ended before it could be killed"
        process.kill()
    assert digests(results / "release") == digests(made / "release"), "the release that was there stays whole"
    subprocess.run(words, check=True)
    assert digests(results / "release") == digests(made / "release")
    assert not list(results.glob(".*"))


def test_a_damaged_pack_is_named_and_the_old_release_stays(made: Path, results: Path) -> None:
    with (results / "pack" / f"{SHARDS[1]}.tar").open("r+b") as tar:
        tar.seek(int(pd.read_parquet(results / "pack" / f"{SHARDS[1]}.parquet")["tar_offset"][1]) + 40)
        tar.write(b"damage")
    with pytest.raises(DataError, match=rf"{SHARDS[1]}\.tar: sub-000009/anat/sub-000009_T1w.nii.gz: expected SHA-256"):
        release(results)
    assert digests(results / "release") == digests(made / "release")
    assert not list(results.glob(".*"))


def test_a_folder_of_other_files_is_not_replaced(results: Path) -> None:
    shutil.rmtree(results / "release")
    (results / "release").mkdir()
    (results / "release" / "thesis.tex").write_text("the only copy")
    with pytest.raises(DataError, match=r"it holds thesis\.tex, which no release made"):
        release(results)
    assert (results / "release" / "thesis.tex").read_text() == "the only copy"
