from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainldm.core.errors import DataError
from brainldm.core.grid import Grid
from brainldm.core.rows import participant_id
from brainldm.formats import evaluation, shards
from brainldm.formats.nifti import encode_volume, quantise, voxel_sha256, write_bytes
from brainldm.formats.shard_set import ShardSet
from brainldm.formats.tables import write_parquet, write_tsv
from brainldm.formats.volumes import VolumeSet
from brainldm.metrics import frechet

GRID = Grid(shape=(8, 10, 8), spacing_mm=20.0, center_mm=(0, -17, 6))


def _volume(index: int) -> np.ndarray:
    return np.full(GRID.shape, index / 64, np.float32)


def _shard(folder: Path, name: str) -> Path:
    out, made_by = folder / f"{name}.json", {"weights_sha256": {}, "precision": "32-true", "device": "CPU", "versions": {}}
    with shards.open_journal(folder / "work" / name, "planted") as journal:
        for index in shards.shard_rows(name):
            counts = quantise(_volume(index))
            shards.commit(journal, index, encode_volume(counts, GRID, "planted"), voxel_sha256(counts), np.zeros((3, 1, 1, 1), np.float16))
        shards.pack(journal, name, out, {**made_by, "section": {"section": {"steps": 7, "batch_size": 1}}})
    return out


def _tables(folder: Path, name: str) -> tuple[Path, Path]:
    indices = np.array(shards.shard_rows(name))
    requested = {
        "index": indices,
        "participant_id": [participant_id(index) for index in indices],
        "seed": 1,
        "age_years": 50.0 + indices,
        "sex": "F",
        "ventricles_ml": 30.0 + indices,
        "brain_ml": 1200.0,
        "in_support": True,
        "cell": "",
    }
    measured = {
        "index": indices,
        "ventricles_ml": 30.0 + indices + (indices == 2) * 9,
        "brain_ml": 1210.0,
        "icv_ml": 1500.0,
        "age_predicted_years": 51.0 + indices,
        "left thalamus": 1000.0 * indices,
        "total intracranial": 1.5e6,
        "qc_pass": indices != 4,
        "qc_reason": np.where(indices == 4, "empty", ""),
    }
    paths = folder / f"{name}.request.parquet", folder / f"{name}.measure.parquet"
    for path, columns in zip(paths, (requested, measured), strict=True):
        write_parquet(path, pd.DataFrame(columns))
    return paths


def _real(folder: Path, n: int = 6) -> VolumeSet:
    for index in range(n):
        write_bytes(folder / f"scan{index}.nii.gz", encode_volume(quantise(_volume(index + 32)), GRID, "planted"))
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{index:04d}" for index in range(n)],
            "split": ["train", "test"] * (n // 2),
            "age_years": 60.0,
            "sex": "M",
            "volume": [f"scan{index}.nii.gz" for index in range(n)],
            "ventricles_ml": np.arange(n) + 20.0,
            "brain_ml": 1200.0,
        }
    )
    write_tsv(folder / "covariates.tsv", table)
    return VolumeSet(folder / "covariates.tsv", GRID)


def test_shards_given_in_any_order_are_read_by_row(tmp_path: Path) -> None:
    late, early = _shard(tmp_path, "000003-000004"), _shard(tmp_path, "000000-000002")
    found = ShardSet([late, early], GRID)
    assert found.indices == [0, 1, 2, 3, 4]
    assert found.sampling.steps == 7
    np.testing.assert_allclose(found.batch(np.array([4, 1]))[:, 0, 0, 0, 0], [4 / 64, 1 / 64])


def test_the_table_joins_requested_and_measured_by_row(tmp_path: Path) -> None:
    requests, measures = zip(*(_tables(tmp_path, name) for name in ("000000-000002", "000003-000004")), strict=True)
    table = evaluation.synthetic_table(list(requests)[::-1], list(measures), [0, 1, 2, 3, 4])
    assert table["index"].tolist() == [0, 1, 2, 3, 4]
    assert (table["measured_ventricles_ml"] - table["ventricles_ml"]).tolist() == [0, 0, 9, 0, 0]
    with pytest.raises(DataError, match=r"found none for \[5, 6\]"):
        evaluation.synthetic_table(list(requests), list(measures), [4, 5, 6])


def test_regions_are_read_by_row_in_ml(tmp_path: Path) -> None:
    measures = [_tables(tmp_path, name)[1] for name in ("000003-000004", "000000-000002")]
    found = evaluation.regions(measures, [0, 1, 2, 3, 4])
    assert found["left thalamus"].tolist() == [0, 1, 2, 3, 4]
    assert set(found) == {"left thalamus", "total intracranial"}


def test_reference_statistics_come_back_and_those_of_other_features_are_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    real, synthetic = generator.standard_normal((50, 6)), generator.standard_normal((40, 6)) + 0.5
    evaluation.write_reference(tmp_path / "reference.npz", *frechet.moments(real), "planted")
    other = frechet.from_moments(*evaluation.read_reference(tmp_path / "reference.npz", "planted"))
    assert other.n == 50
    assert frechet.distance(other, frechet.fit(synthetic)) == pytest.approx(frechet.frechet_distance(real, synthetic), abs=1e-9)
    with pytest.raises(DataError, match="found those of 'planted'"):
        evaluation.read_reference(tmp_path / "reference.npz", "another network")
    with pytest.raises(DataError, match="Cannot read "):
        evaluation.read_reference(tmp_path / "none.npz", "planted")


def test_true_volumes_are_joined_by_participant(tmp_path: Path) -> None:
    scans = _real(tmp_path).table
    truth = pd.DataFrame({"participant_id": ["sub-0003", "sub-0001", "sub-0099"], "ventricles_ml": [3.0, 1.0, 9.0]})
    write_tsv(tmp_path / "truth.tsv", truth)
    known = evaluation.true_volumes(tmp_path / "truth.tsv", scans)
    assert known["participant_id"].tolist() == ["sub-0001", "sub-0003"]
    assert known["true_ventricles_ml"].tolist() == [1, 3]
    assert known["ventricles_ml"].tolist() == [21, 23]
    with pytest.raises(DataError, match="none of theirs"):
        evaluation.true_volumes(tmp_path / "truth.tsv", scans.iloc[[0]])


def test_pictures_show_failures_first_and_the_nearest_with_their_neighbours(tmp_path: Path) -> None:
    request, measure = _tables(tmp_path, "000000-000004")
    _real(tmp_path)
    shard = _shard(tmp_path, "000000-000004")
    sets = evaluation.gather(tmp_path / "covariates.tsv", [request], [shard], [measure], GRID, seed=1)
    assert sets.train.tolist() == [0, 2, 4]
    assert sorted(sets.held_out) == [1, 3, 5]
    copied, score = np.array([0, 1, 2, 0, 1]), np.array([1.0, 0.9, 0.2, 1.1, 0.8])
    volumes, shown = evaluation.pictures(
        sets,
        copied,
        score,
        {"ladder_x": {"images": np.zeros((2, 8, 10, 8)), "requested": np.arange(2), "measured": np.array([5, 8])}},
        seed=1,
    )
    assert shown["worst"][:2] == ["sub-000005", "sub-000003"]
    assert shown["worst_reason"][:2] == ["empty", "ventricles miss the request by +9.0 mL"]
    assert shown["near_synthetic"][0] == "sub-000003"
    assert shown["near_train"][0] == "sub-0004"
    assert list(shown["ladder_x"]) == ["requested", "measured", "slope"]
    assert shown["ladder_x"]["slope"] == pytest.approx(3)
    assert volumes["ladder_x"].shape == (2, 8, 10, 8)
    assert shown["near_score"] == [0.2, 0.8, 0.9, 1.0]
    np.testing.assert_array_equal(volumes["near_synthetic"][0], round(255 * 2 / 64))
    np.testing.assert_array_equal(volumes["near_train"][0], round(255 * 36 / 64))
    assert sorted(shown["real"]) == ["sub-0001", "sub-0003", "sub-0005"]
    assert sorted(shown["synthetic"]) == [participant_id(index) for index in range(5)]


def test_an_evaluation_comes_back_as_it_was_written(tmp_path: Path) -> None:
    table = evaluation.synthetic_table(*([path] for path in _tables(tmp_path, "000000-000004")), [0, 1, 2, 3, 4])
    volumes = {"real": np.linspace(-0.1, 1.1, 2 * 8**3).reshape(2, 8, 8, 8)}
    written = evaluation.Evaluation({"age_r": 0.5}, table, volumes, {"held_out_ages": {"true": np.array([50.0, 60.0])}})
    evaluation.write(tmp_path / "report.json", written)
    found = evaluation.read(tmp_path / "report.json")
    assert found.report == {"age_r": 0.5}
    assert found.shown == {"held_out_ages": {"true": [50.0, 60.0]}}
    np.testing.assert_allclose(found.volumes["real"], volumes["real"].clip(0, 1), atol=1 / 255)
    np.testing.assert_allclose(found.agreement["measured_ventricles_ml"], table["measured_ventricles_ml"])
    (tmp_path / "images.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"images\.npz"):
        evaluation.read(tmp_path / "report.json")
