"""A release of latents: decoded on the fly it gives the volumes that were generated, bit for bit; damage is named by row."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from networks import make_shard, write_results
from release_files import MODEL
from scans import TINY, write_section
from web import serve

from brainldm.commands import get
from brainldm.core.errors import DataError
from brainldm.core.files import write_json
from brainldm.core.rows import participant_id, shard_rows
from brainldm.data import BrainLDMDataset
from brainldm.formats.release_check import check
from brainldm.formats.shards import iterate_volumes
from brainldm.formats.tables import write_parquet, write_tsv
from brainldm.stages import pack, release

SHARDS = ("000000-000001", "000002-000002")
STAGES = (("request", "parquet"), ("generate", "json"), ("measure", "parquet"))


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = write_results(tmp_path_factory.mktemp("results"), [shard_rows(shard) for shard in SHARDS])
    sections = {stage: write_section(folder / f"configure/{stage}.json", stage) for stage in ("pack", "release")}
    for shard in SHARDS:
        make_shard(folder, shard)
        identity = {"index": shard_rows(shard), "participant_id": [participant_id(index) for index in shard_rows(shard)]}
        volumes = {"ventricles_ml": 30.0, "brain_ml": 1300.0, "icv_ml": 1500.0, "age_predicted_years": 60.0, "age_spread_years": 1.0}
        write_parquet(folder / f"measure/{shard}.parquet", pd.DataFrame({**identity, **volumes, "qc_pass": True, "qc_reason": ""}))
        pack.main(sections["pack"], *(folder / f"{stage}/{shard}.{end}" for stage, end in STAGES), folder / f"pack/{shard}.json")
    write_json(folder / "report.json", {"audit": "no copies found"})
    (folder / "protocol.yaml").write_text("protocol: 1\n")
    training = {"participant_id": ["someone"], "sex": ["F"], "age_years": [50.1], "ventricles_ml": [20.2], "brain_ml": [1400.3]}
    write_tsv(folder / "covariates.tsv", pd.DataFrame(training))
    (folder / "model.json").write_text(MODEL.model_dump_json())
    tables = folder / "covariates.tsv", folder / "model.json"
    given = json.loads(sections["release"].read_text())
    given["section"]["packaging"] = "latents"
    write_json(sections["release"], given)
    packs, latents = (
        [folder / f"{stage}/{shard}.{end}" for shard in SHARDS] for stage, end in (("pack", "json"), ("generate", "safetensors"))
    )
    inputs = (sections["release"], packs, folder / "report.json", *tables, folder / "release/checksums.sha256")
    with pytest.raises(DataError, match="expected latents of every packed shard"):
        release.main(*inputs, latents[:1], folder / "train_autoencoder/model.safetensors")
    release.main(*inputs, latents, folder / "train_autoencoder/model.safetensors")
    return folder


def test_decoded_on_the_fly_the_volumes_are_those_that_were_generated(results: Path) -> None:
    stored = [volume for shard in SHARDS for _, volume in iterate_volumes(results / f"generate/{shard}.json", TINY.grid)]
    assert not list((results / "release").glob("sub-*"))
    with serve(results / "release") as (url, _):
        for place in (results / "release", url):
            found = BrainLDMDataset(place)
            assert [np.array_equal(item["image"][0].numpy(), volume) for item, volume in zip(found, stored, strict=True)] == [True] * 3


def test_volumes_are_not_promised_and_damage_is_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found latents"):
        get.main(str(results / "release"), tmp_path / "part", None, 1)
    assert {finding.verdict for finding in check(results / "release")} == {"ok"}
    folder = Path(shutil.copytree(results / "release", tmp_path / "release"))
    file = folder / "latents/000000-000001.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    errors = [(finding.check, finding.found) for finding in check(folder) if finding.verdict == "error"]
    assert errors == [("latents/000000-000001.safetensors", "row 1 (sub-000002) is damaged")]
