"""What synthetic volumes are good for: age models of three training sets, trained and compared by the true stages."""

import json
from pathlib import Path

import numpy as np
import pytest
from judged import write_shard
from networks import requested
from scans import TINY, write_scans, write_section

from brainldm.core.errors import BrainLDMError
from brainldm.formats.shard_set import ShardSet
from brainldm.formats.volumes import Joined, VolumeSet
from brainldm.models import age
from brainldm.stages import train_age, utility

N_SCANS, N_MADE = 16, 6


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans, a shard of synthetic volumes, and two age models of each training set."""
    folder = tmp_path_factory.mktemp("results")
    covariates, shard = write_scans(folder, TINY.grid, N_SCANS), write_shard(folder, N_MADE)
    section = write_section(folder / "train_age.json", "train_age", steps=4)
    write_section(folder / "utility.json", "utility")
    write_section(folder / "evaluate.json", "evaluate")
    made = {"shard": [shard], "request": [folder / f"request/{shard.stem}.parquet"]}
    data = {"real": {"covariates": covariates}, "synthetic": made, "both": {"covariates": covariates, **made}}
    for name, given in data.items():
        for repeat in (0, 1):
            train_age.main(section, model(folder, name, repeat), **given, repeat=repeat, device="cpu")
    return folder


def model(folder: Path, name: str, repeat: int) -> Path:
    return folder / f"{name}-{repeat}/model.safetensors"


def sets(folder: Path) -> tuple[VolumeSet, ShardSet]:
    return VolumeSet(folder / "covariates.tsv", TINY.grid, "train"), ShardSet([*folder.glob("generate/*.json")], TINY.grid)


def test_sets_are_joined_in_their_order(results: Path) -> None:
    scans, made = sets(results)
    both = Joined([scans, made])
    assert len(both) == len(scans) + N_MADE
    places = np.array([len(scans), 0, len(both) - 1])
    assert np.array_equal(both.batch(places), np.concatenate([made.batch(range(1)), scans.batch(range(1)), made.batch(range(5, 6))]))


def test_each_training_knows_the_ages_and_the_mean_of_its_own_set_alone(results: Path) -> None:
    scans, made = sets(results)
    real, asked = scans.table["age_years"].to_numpy(np.float32), requested(range(N_MADE))["age_years"].to_numpy(np.float32)
    volumes = {"real": scans.batch(range(len(scans))), "synthetic": made.batch(range(N_MADE))}
    volumes["both"] = np.concatenate([*volumes.values()])
    for name, ages in {"real": real, "synthetic": asked, "both": np.concatenate([real, asked])}.items():
        found = age.load(model(results, name, 0))
        assert found.spec["age_mean"] == np.round(ages.mean())  # whole years: digits would tell the age of a last person
        assert found.spec["age_sd"] == max(np.round(ages.std()), 1)
        assert found.mean[0, 0].numpy() == pytest.approx(volumes[name].mean(axis=(0, 1)), abs=1e-5)


def test_a_repeat_is_another_training_and_the_first_is_that_of_train_age(results: Path, tmp_path: Path) -> None:
    train_age.main(results / "train_age.json", tmp_path / "again.safetensors", results / "covariates.tsv", device="cpu")
    assert (tmp_path / "again.safetensors").read_bytes() == model(results, "real", 0).read_bytes()
    assert model(results, "real", 1).read_bytes() != model(results, "real", 0).read_bytes()


def test_three_rows_stand_side_by_side_with_their_intervals(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, names = results / "utility/table.json", ("real", "synthetic", "both")
    models = {name: [model(results, name, turn) for turn in (0, 1)] for name in names}
    sections = [results / f"{name}.json" for name in ("utility", "evaluate")]
    utility.main(*sections, results / "covariates.tsv", [*results.glob("generate/*.json")], **models, out=out, device="cpu")
    assert out.with_name("table.md").read_text() in capsys.readouterr().out
    assert out.with_name("figure.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads(out.read_text())
    assert {name: (row["n_scans"], row["n_synthetic"], row["n_trainings"]) for name, row in told["rows"].items()} == {
        "real": (12, 0, 2), "synthetic": (0, 6, 2), "both": (12, 6, 2)
    }  # fmt: skip
    ages = {name: np.array(values) for name, values in told["ages_years"].items()}
    for name, row in told["rows"].items():
        assert row["mae_years"] == pytest.approx(np.abs(ages[name] - ages["true"]).mean())
        assert row["mae_years_ci"][0] <= row["mae_years"] <= row["mae_years_ci"][1]
        assert row["mae_years_n"] == 4
    assert told["rows"]["both"]["mae_years_minus_real"] == pytest.approx(
        told["rows"]["both"]["mae_years"] - told["rows"]["real"]["mae_years"]
    )


def test_a_training_needs_volumes_and_their_ages(results: Path, tmp_path: Path) -> None:
    with pytest.raises(BrainLDMError, match="expected --covariates, or --shard with"):
        train_age.main(results / "train_age.json", tmp_path / "a.safetensors")
    with pytest.raises(BrainLDMError, match="--request"):
        train_age.main(results / "train_age.json", tmp_path / "a.safetensors", shard=[*results.glob("generate/*.json")])
