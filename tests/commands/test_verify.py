"""brainldm verify: rows of real shards and of a release made from them come back, and what is not what it should be is named."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from networks import make_shard, write_networks, write_results
from release_files import MODEL
from scans import TINY, write_section

from brainldm.commands import verify, view
from brainldm.core.config import Given
from brainldm.core.errors import DataError
from brainldm.core.files import write_json
from brainldm.core.gate import audits
from brainldm.core.rows import participant_id, shard_rows
from brainldm.formats.dataset import open_dataset
from brainldm.formats.nifti import encode_volume, quantise, read_volume, write_bytes
from brainldm.formats.tables import write_parquet, write_tsv
from brainldm.models import rows
from brainldm.models.training import make_fabric
from brainldm.stages import pack, release

SHARDS = ("000000-000004", "000005-000008")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # of the terminal, so that names stay whole


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Two shards, and a release of them in release/."""
    folder = write_results(tmp_path_factory.mktemp("results"), [shard_rows(shard) for shard in SHARDS])
    for shard in SHARDS:
        make_shard(folder, shard)
        identity = {"index": shard_rows(shard), "participant_id": [participant_id(index) for index in shard_rows(shard)]}
        volumes = {"ventricles_ml": 30.0, "brain_ml": 1300.0, "icv_ml": 1500.0, "age_predicted_years": 60.0, "age_spread_years": 1.0}
        write_parquet(folder / f"measure/{shard}.parquet", pd.DataFrame({**identity, **volumes, "qc_pass": True, "qc_reason": ""}))
    sections = {stage: write_section(folder / f"configure/{stage}.json", stage) for stage in ("pack", "release")}
    for shard in SHARDS:
        inputs = (folder / f"{stage}/{shard}.{end}" for stage, end in STAGES)
        pack.main(sections["pack"], *inputs, folder / f"pack/{shard}.json")
    write_json(folder / "report.json", audits("files"))
    (folder / "protocol.yaml").write_text("protocol: 1\n")
    training = {"participant_id": ["someone"], "sex": ["F"], "age_years": [50.1], "ventricles_ml": [20.2], "brain_ml": [1400.3]}
    write_tsv(folder / "covariates.tsv", pd.DataFrame(training))
    (folder / "model.json").write_text(MODEL.model_dump_json())
    tables = folder / "covariates.tsv", folder / "model.json"
    packs = [folder / f"pack/{shard}.json" for shard in SHARDS]
    release.main(sections["release"], packs, folder / "report.json", *tables, folder / "release/checksums.sha256")
    return folder


MODELS = ("autoencoder", "diffusion")
STAGES = (("request", "parquet"), ("generate", "json"), ("measure", "parquet"))


def run(folder: Path, results: Path, capsys: pytest.CaptureFixture[str], rows: int = 9, tolerance: float = 0.05) -> tuple[int, str]:
    """The exit status and what was printed."""
    weights = (results / f"train_{name}/model.safetensors" for name in MODELS)
    with pytest.raises(typer.Exit) as ended:
        verify.main(folder, *weights, n_rows=rows, seed=3, tolerance=tolerance, device="cpu", files=False)
    return ended.value.exit_code, " ".join(capsys.readouterr().out.split())


def test_without_weights_the_files_of_a_release_are_checked(results: Path, capsys) -> None:
    with pytest.raises(typer.Exit) as ended:
        verify.main(results / "release")
    assert ended.value.exit_code == 0
    assert "9 rows" in capsys.readouterr().out
    with pytest.raises(DataError, match="expected --autoencoder and --diffusion"):
        verify.main(results / "release", results / "train_autoencoder/model.safetensors")
    with pytest.raises(DataError, match="expected --autoencoder and --diffusion"):
        verify.main(results)


def test_rows_of_results_and_of_a_release_come_back_bit_for_bit(results: Path, capsys) -> None:
    for folder in (results, results / "release"):
        status, printed = run(folder, results, capsys, rows=4)
        assert (status, printed.count("the same bits")) == (0, 4)


def test_a_row_that_was_drawn_again_is_made_by_the_attempt_of_the_table(results: Path) -> None:
    data = open_dataset(results / "release")
    given = Given.model_validate(data.provenance["section"])
    networks = rows.load(*(results / f"train_{name}/model.safetensors" for name in MODELS), make_fabric("cpu", "32-true", 0), TINY.generate)
    for attempt, verdict in ((0, "ok"), (1, "error")):  # these rows are first draws
        found = list(verify.made_again(data, data.table.head(2).assign(attempt=attempt), given, networks, tolerance=0.0))
        assert [finding.verdict for finding in found] == [verdict] * 2


def test_a_release_says_what_made_it_and_nothing_of_where(results: Path) -> None:
    text = (results / "release/provenance.json").read_text()
    found = json.loads(text)
    assert found["section"]["section"] == {**TINY.generate.model_dump(mode="json"), "attempts": 1}
    assert set(found["weights_sha256"]) == {"autoencoder", "diffusion"}
    assert [machine["shards"] for machine in found["made_on"]] == [list(SHARDS)]
    assert str(results) not in text
    assert "/" not in text


@pytest.fixture
def spoiled(results: Path) -> tuple[Path, dict[str, bytes]]:
    """A release that a test may spoil; it is put right afterwards."""
    folder = results / "release"
    before = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield folder
    for path, content in before.items():
        Path(path).write_bytes(content)


def test_a_changed_a_damaged_and_a_swapped_file_are_named(results: Path, spoiled: Path, capsys) -> None:
    files = [spoiled / f"sub-{number:06d}/anat/sub-{number:06d}_T1w.nii.gz" for number in range(1, 10)]
    counts = quantise(read_volume(files[2], TINY.grid))
    counts[3, 4, 5] += 1
    write_bytes(files[2], encode_volume(counts, TINY.grid, "changed"))
    files[4].write_bytes(files[4].read_bytes()[:-40])
    files[5].write_bytes(files[6].read_bytes())
    files[8].unlink()
    status, printed = run(spoiled, results, capsys)
    assert (status, printed.count("the same bits")) == (1, 5)
    for number, cause in ((3, "the file was changed"), (5, "found a damaged one"), (6, "the file was changed"), (9, "No such file")):
        error = printed.split(f"error: row {number - 1}, ")[1]
        assert f"sub-{number:06d}_T1w.nii.gz" in error[: error.index("remedy")]
        assert cause in error[: error.index("remedy")]


def test_a_table_that_does_not_tell_the_covariates_is_found_out(results: Path, spoiled: Path, capsys) -> None:
    table = pd.read_parquet(spoiled / "covariates.parquet")
    table.loc[4, "age_years"] += 5
    write_parquet(spoiled / "covariates.parquet", table)
    status, printed = run(spoiled, results, capsys)
    assert (status, printed.count("the same bits")) == (1, 8)
    assert "error: row 4, " in printed
    assert "the bits must be the same" in printed


def test_on_another_machine_a_tolerance_is_allowed_and_no_more(results: Path, spoiled: Path, capsys) -> None:
    made_by = json.loads((spoiled / "provenance.json").read_text())
    made_by["made_on"][0]["device"] = "another"
    write_json(spoiled / "provenance.json", made_by)
    table = pd.read_parquet(spoiled / "covariates.parquet")
    table["age_years"] += np.where(table["index"] == 4, 5, 0.01)
    write_parquet(spoiled / "covariates.parquet", table)
    status, printed = run(spoiled, results, capsys, tolerance=1.0)
    assert (status, printed.count("differ, by 0.")) == (0, 9)
    status, printed = run(spoiled, results, capsys, tolerance=0.001)
    assert status == 1
    assert "error: row 4, " in printed
    assert "up to 0.001 is allowed" in printed


def test_a_shard_that_a_larger_run_of_other_weights_left_is_left_out(results: Path, tmp_path: Path, capsys) -> None:
    left = write_results(tmp_path / "left", [range(7, 11)])
    write_networks(left, seed=1)
    make_shard(left, "000007-000010")
    for stage, end in (("request", "parquet"), ("generate", "json"), ("generate", "tar")):
        path = left / f"{stage}/000007-000010.{end}"
        copied = results / f"{stage}/{path.name}"
        copied.write_bytes(path.read_bytes())
        os.utime(copied, ns=(0, 0))
    status, text = run(results, results, capsys)
    assert status == 0, text
    view.main("8", out=tmp_path / "row8.png", results=results)
    view.main("9", out=tmp_path / "row9.png", results=results)
    for stage in ("request", "generate"):
        for path in results.glob(f"{stage}/000007-000010.*"):
            path.unlink()
    view.main("8", out=tmp_path / "again.png", results=results)
    assert (tmp_path / "row8.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_other_weights_are_refused_by_name(results: Path, tmp_path: Path) -> None:
    others = write_networks(tmp_path, seed=5)
    with pytest.raises(DataError, match=r"train_diffusion/\S+: expected the diffusion that made .*release, with SHA-256 \w+, found"):
        verify.main(results / "release", results / "train_autoencoder/model.safetensors", others[1])
    with pytest.raises(DataError, match="expected a release"):
        verify.main(tmp_path, *others)
