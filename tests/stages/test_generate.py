"""The stage generate: guidance is used, off by default, and refused for a model that cannot be guided."""

from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from brainldm.core.config import parse, section_json
from brainldm.core.covariates import Ranges
from brainldm.core.errors import ConfigError
from brainldm.core.files import read_json
from brainldm.formats.tables import read_parquet, write_parquet
from brainldm.models import autoencoder, checkpoint, diffusion
from brainldm.stages import generate

VALUES = yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text())
RANGES = Ranges((0, 44, 10, 1000), (1, 82, 110, 1500))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two requested rows, and networks with random weights: a decoder, a model that can be guided and one that cannot."""
    config = parse(VALUES)
    torch.manual_seed(0)
    decoder = autoencoder.build(config.train_autoencoder, config.grid)
    checkpoint.save(tmp_path / "train_autoencoder/model.safetensors", decoder.state_dict(), decoder.spec)
    for name, dropout in (("able", 0.1), ("plain", 0.0)):
        options = config.train_diffusion.model_copy(update={"condition_dropout": dropout})
        network = diffusion.build(options, decoder.latent_shape(config.grid.shape), RANGES)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        checkpoint.save(tmp_path / name / "model.safetensors", network.state_dict(), network.spec)
    rows = pd.DataFrame({"index": [0, 1], "seed": 7, "sex": ["F", "M"], "age_years": [50.0, 70.0]})
    write_parquet(tmp_path / "request.parquet", rows.assign(ventricles_ml=[20.0, 60.0], brain_ml=[1400.0, 1200.0]))
    return tmp_path


def shard(folder: Path, model: str, guidance: float | None) -> list[str]:
    """The SHA-256 of every volume's voxels."""
    values = {key: value for key, value in VALUES["generate"].items() if key != "guidance"}
    given = parse(VALUES | {"generate": values | ({} if guidance is None else {"guidance": guidance})})
    (folder / "section.json").write_text(section_json(given, "generate"))
    out = folder / f"{model}-{guidance}/000000-000001.json"
    files = (
        folder / name for name in ("section.json", "request.parquet", "train_autoencoder/model.safetensors", f"{model}/model.safetensors")
    )
    generate.main(*files, out, device="cpu")
    return [row["voxel_sha256"] for row in read_json(out)["rows"]]


def test_guidance_is_off_by_default_and_changes_volumes_when_on(folder: Path) -> None:
    plain = shard(folder, "able", None)
    assert shard(folder, "able", 1.0) == plain
    assert not set(shard(folder, "able", 3.0)) & set(plain)


def test_a_model_trained_without_drop_out_is_refused_by_name_before_anything_is_sampled(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"plain/model\.safetensors: .*condition_dropout above 0, because generate\.guidance is 3"):
        shard(folder, "plain", 3.0)
    assert not (folder / "plain-3.0/000000-000001.json").exists()
    assert len(shard(folder, "plain", 1.0)) == 2


def test_rows_of_one_noise_index_differ_in_their_covariates_only(folder: Path) -> None:
    rows = read_parquet(folder / "request.parquet")
    same = rows.assign(noise_index=1, sex="F", age_years=50.0, ventricles_ml=20.0, brain_ml=1400.0)
    found = []
    for name, table in (("own", same.assign(noise_index=[0, 1])), ("shared", same), ("paired", same.assign(ventricles_ml=[20.0, 60.0]))):
        write_parquet(folder / "request.parquet", table)
        found.append(shard(folder, "plain", None))
        (folder / "plain-None/000000-000001.json").rename(folder / name)
    own, shared, paired = found
    assert own[1] == shared[0] == shared[1] == paired[0]
    assert len({own[0], own[1], paired[1]}) == 3
