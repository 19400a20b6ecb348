"""`brainldm sample`: volumes from the packaged model right after installing, and the very rows of `generate` from any other."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.image import imread
from typer.testing import CliRunner

from brainldm.__main__ import application
from brainldm.commands.bundle import save
from brainldm.core.config import parse, section_json
from brainldm.core.covariates import Ranges
from brainldm.core.errors import BrainLDMError
from brainldm.core.files import read_json, sha256
from brainldm.formats.tables import write_parquet
from brainldm.models import autoencoder, diffusion, pretrained
from brainldm.stages import generate

PERSON = {"age": 65, "sex": "F", "ventricles_ml": 30, "brain_ml": 1560}
CONFIG = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text()))


def words(out: Path, **options: object) -> list[str]:
    return ["sample", *(f"--{name.replace('_', '-')}={value}" for name, value in (PERSON | {"out": out} | options).items())]


def sample(out: Path, **options: object) -> pd.DataFrame:
    result = CliRunner().invoke(application("sample"), words(out, **options), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return pd.read_csv(out / "samples.tsv", sep="\t")


def volumes(out: Path, table: pd.DataFrame) -> np.ndarray:
    return np.stack([np.asarray(nib.Nifti1Image.from_filename(out / name).dataobj, np.float32) for name in table["file"]])


def test_the_packaged_model_is_what_its_recipe_says_and_small() -> None:
    recipe = read_json(pretrained.PACKAGED / "recipe.json")
    for name, path in zip(pretrained.NETWORKS, pretrained.find(pretrained.PACKAGED)[:2], strict=True):
        assert sha256(path) == recipe["files"][name]["sha256"]
    assert sum(path.stat().st_size for path in pretrained.PACKAGED.rglob("*") if path.is_file()) < 15e6
    assert recipe["measured"]["ventricles_r"] > 0.9
    assert {"command", "hardware", "trained", "configuration"} <= set(recipe)


def test_an_empty_folder_and_one_command_give_brains_with_the_ventricles_asked_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "brainldm", *words(Path("made"), number=2, steps=10)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    table = pd.read_csv(tmp_path / "made/samples.tsv", sep="\t")
    medium = volumes(tmp_path / "made", table)
    coder = autoencoder.load(pretrained.find(pretrained.PACKAGED).autoencoder)
    mean = coder.mean[0, 0].numpy()
    assert np.isfinite(medium).all()
    assert all(np.corrcoef(volume.ravel(), mean.ravel())[0, 1] > 0.95 for volume in medium)
    again = sample(tmp_path / "again", number=2, steps=10)
    assert again["sha256"].tolist() == table["sha256"].tolist()
    assert len(set(table["sha256"])) == 2
    folders = {asked: tmp_path / str(asked) for asked in (15, 60)}
    extremes = [volumes(folder, sample(folder, ventricles_ml=asked, steps=10))[0] for asked, folder in folders.items()]
    dark = [_dark_ml(volume, coder, mean) for volume in extremes]
    assert 12 < dark[1] - dark[0] < 45  # of the 45 mL more: CSF is grey
    assert dark[0] < _dark_ml(medium[0], coder, mean) < dark[1]
    picture = imread(tmp_path / "made/preview.png")
    assert picture.shape[:2] == (2 * 40 * 5, (32 + 32 + 40) * 5)
    assert picture[..., 0].max() > 0.5


def _dark_ml(volume: np.ndarray, coder: autoencoder.Autoencoder, mean: np.ndarray) -> float:
    """Volume in mL of what is as dark as CSF around the lateral ventricles: white matter counts 0, black 1."""
    places = np.indices(volume.shape).reshape(3, -1)
    mm = (coder.grid.affine[:3, :3] @ places + coder.grid.affine[:3, 3:]).reshape(3, *volume.shape)
    near = (np.abs(mm[0]) < 35) & (mm[1] > -60) & (mm[1] < 40) & (mm[2] > -5) & (mm[2] < 35)
    white = np.quantile(mean[near], 0.9)
    return float((1 - volume[near] / white).clip(0, 1).sum() * coder.grid.voxel_ml)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks with random weights, laid out as an imported bundle is."""
    torch.manual_seed(0)
    coder = autoencoder.build(CONFIG.train_autoencoder, CONFIG.grid)
    ranges = Ranges((0, 44, 10, 1000), (1, 82, 110, 1500))
    denoiser = diffusion.build(CONFIG.train_diffusion, coder.latent_shape(CONFIG.grid.shape), ranges)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    folder = tmp_path_factory.mktemp("model")
    save(folder, coder, denoiser)
    return folder


def test_a_sample_is_byte_for_byte_the_row_that_generate_makes(tmp_path: Path, model: Path) -> None:
    rows = {"index": [0, 1, 2, 3], "seed": 7, "sex": "F", "age_years": 65.0, "ventricles_ml": 30.0, "brain_ml": 1560.0}
    write_parquet(tmp_path / "rows.parquet", pd.DataFrame(rows))
    once = CONFIG.model_copy(update={"generate": CONFIG.generate.model_copy(update={"attempts": 1})})
    (tmp_path / "section.json").write_text(section_json(once, "generate"))
    checkpoints = pretrained.find(model)
    generate.main(tmp_path / "section.json", [tmp_path / "rows.parquet"], *checkpoints[:2], tmp_path / "000000-000003.json", device="cpu")
    made = [row["sha256"] for row in read_json(tmp_path / "000000-000003.json")["rows"]]
    given = {"autoencoder": checkpoints.autoencoder, "diffusion": checkpoints.diffusion, "steps": 5, "batch_size": 2, "seed": 7}
    write_parquet(tmp_path / "again.parquet", pd.DataFrame({**rows, "attempt": 2}))
    generate.main(tmp_path / "section.json", [tmp_path / "again.parquet"], *checkpoints[:2], tmp_path / "again", only="1", device="cpu")
    again = sample(tmp_path / "sampled_again", **given, index=1, attempt=2, device="cpu")
    assert [sha256(tmp_path / "again/000001.nii.gz")] == again["sha256"].tolist() != made[1:2]
    found = sample(tmp_path / "sampled", **given, index=1, number=3, device="cpu")
    assert found["sha256"].tolist() == made[1:]
    assert found["participant_id"].tolist() == ["sub-000002", "sub-000003", "sub-000004"]
    assert json.loads((tmp_path / "sampled/samples.json").read_text())["weights_sha256"]["diffusion"] == sha256(checkpoints.diffusion)


def test_an_imported_model_is_sampled_as_its_section_says(tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sample(tmp_path / "a", model=model, age=90.5)
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert told[0] == "age_years 90.5 lies outside 44 to 82, where the model was trained: it extrapolates"
    assert [text.split()[0] for text in told] == ["age_years", "brain_ml"]
    own = json.loads((tmp_path / "a/samples.json").read_text())["generate"]["section"]
    assert (own["steps"], own["batch_size"]) == (50, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autoencoder": "a.safetensors"}, "both --autoencoder and --diffusion"),
        ({"model": "nowhere"}, "nowhere: expected a model laid out as results/, found no train_autoencoder/model.safetensors"),
        ({"age": "nan"}, "expected finite numbers, found nan as age_years"),
        (
            {"ventricles_ml": 45000.0},
            "ventricles_ml: expected a value above 0, 5000 at most, found 45000.0; if these are mm3, divide by 1000",
        ),
    ],
)
def test_what_cannot_be_sampled_is_one_error_and_nothing_is_written(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(BrainLDMError, match=message):
        sample(tmp_path / "made", **options)
    assert not (tmp_path / "made").exists()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, model: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrainLDMError, match=r"file is no folder\. Name another path"):
        sample(tmp_path / "file/made", model=model, steps=2)
