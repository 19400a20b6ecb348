"""A frozen protocol: it says what an evaluation did, scores its volumes alike, and refuses what contradicts it."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from judged import judge, write_age_model
from scans import TINY, write_section

from brainldm import protocol
from brainldm.commands import score
from brainldm.core.errors import BrainLDMError
from brainldm.formats.nifti import encode_volume, quantise, write_bytes
from brainldm.formats.shard_set import ShardSet
from brainldm.metrics import fidelity
from brainldm.metrics.definitions import definitions

N = 10
QUICK = {"ssim_pairs": 8, "ssim_sample": 3, "bootstrap": 20, "ladder_steps": 2, "planted_copies": 8, "batch_size": 4}
SAME = ("fid", "fid_real", "kid", "recall", "ms_ssim", "ms_ssim_real", "ms_ssim_all_pairs", "g4r_ssim", "g4r_ssim_real", "sharpness")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation laid out as a run's results, with its volumes as a folder and what was asked for; `configure` has other settings."""
    folder = tmp_path_factory.mktemp("results")
    judge(folder, 12, N, **QUICK)
    for name, place in {"age": "train_age/model", "segmenter": "train_segmenter/model"}.items():
        (folder / place).parent.mkdir(exist_ok=True)
        shutil.move(folder / f"{name}.safetensors", folder / f"{place}.safetensors")
    shutil.copytree(folder, folder / "covariates", ignore=lambda _, names: [name for name in names if not name.startswith(("sub-", "cov"))])
    volumes = ShardSet([*folder.glob("generate/*.json")], TINY.grid)
    for place in range(N):
        content = encode_volume(quantise(volumes.batch([place])[0, 0]), TINY.grid, "test")  # type: ignore[arg-type]
        write_bytes(folder / f"made/{place}.nii.gz", content)
    asked = pd.read_parquet(next(folder.glob("request/*.parquet")))
    asked.assign(path=[f"{place}.nii.gz" for place in range(N)]).to_csv(folder / "made.csv")
    for stage in protocol.SECTIONS:
        write_section(folder / f"configure/{stage}.json", stage)
    return folder


def scored(results: Path, out: Path, **others: Path) -> dict[str, float]:
    frozen = results / "evaluate/protocol.yaml"
    score.main(results / "made", out, results / "made.csv", **{"models": results, "protocol_file": frozen, **others}, device="cpu")
    return dict(json.loads((out / "score.json").read_text()))


def test_it_scores_a_datasets_own_volumes_as_their_evaluation_did(results: Path, tmp_path: Path) -> None:
    report, found = json.loads((results / "evaluate/report.json").read_text()), scored(results, tmp_path / "out")
    assert report["ms_ssim_n"] == QUICK["ssim_pairs"] != TINY.evaluate.ssim_pairs  # settings come from the protocol, not from `configure`
    for name in SAME:
        assert found[name] == pytest.approx(report[name], rel=1e-4, abs=1e-9), name
        assert found[f"{name}_ci"] == pytest.approx(report[f"{name}_ci"], rel=1e-4, abs=1e-9), name
        assert found[f"{name}_n"] == report[f"{name}_n"], name


def test_it_says_what_was_done_and_nothing_of_the_machine(results: Path) -> None:
    text = (results / "evaluate/protocol.yaml").read_text()
    told, report = yaml.safe_load(text), json.loads((results / "evaluate/report.json").read_text())
    assert told["evaluate"]["ssim_pairs"] == 8
    assert told["n"]["fid"] == report["fid_n"] == 6
    assert told["sha256"]["age"][:12] in told["features"]
    assert told["audit_thresholds"] == report["audit_thresholds"]
    assert told["metrics"] == definitions(TINY.grid.shape)
    assert str(results) not in text
    named = [figure for family in ("obedience", "fidelity") for figure in told["metrics"][family]["figures"]]
    assert set(named + list(told["metrics"]["g4r_ssim"]["variants"])) <= set(report)


@pytest.mark.parametrize("name", ["segmenter", "age", "reference"])
def test_other_weights_or_statistics_are_refused(results: Path, tmp_path: Path, name: str) -> None:
    years = TINY.train_age.model_copy(update={"channels": (4, 4)})
    other = write_age_model(tmp_path / "train_age/model.safetensors", TINY.model_copy(update={"train_age": years}))
    shutil.copytree(results / "evaluate", tmp_path / "evaluate")
    given = {"models": tmp_path} if name == "age" else {name: other}
    with pytest.raises(BrainLDMError, match=rf"protocol\.yaml: expected as {name} the file with SHA-256 \w+, found \w+ \("):
        scored(results, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_metrics_that_this_version_computes_otherwise_are_refused(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "DRAWS", 21)
    with pytest.raises(BrainLDMError, match=r"found another metrics\.fidelity\.draws; take brainldm \d"):
        protocol.read(results / "evaluate/protocol.yaml")


@pytest.mark.parametrize("text", ["", "a: [", "protocol: 1\n", "[1, 2]\n"])
def test_what_is_no_protocol_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(BrainLDMError, match=r"p\.yaml"):
        protocol.read(tmp_path / "p.yaml")
