"""A results folder as the stages before `release` leave it, small and made up, and a release of it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from brainldm.core.config import parse, section_json
from brainldm.core.copula import Copula, Marginal
from brainldm.core.covariates import NAMES
from brainldm.core.gate import audits
from brainldm.core.rows import participant_id, shard_rows
from brainldm.formats import html
from brainldm.formats.nifti import encode_volume, quantise, voxel_sha256
from brainldm.formats.shards import commit, open_journal, pack
from brainldm.stages import pack as pack_stage
from brainldm.stages import release as release_stage

OWN = {"name": "tiny-1", "license": "CC0-1.0", "skull_stripped": True, "published": "2026-11-21", "authors": ["A lab"]}
CONFIG = {
    **yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text()),
    "grid": {"shape": [12, 14, 12], "spacing_mm": 12.0, "center_mm": [0, -17, 6]},
    "pack": {"piece_length": 16384},
}
GRID = parse({**CONFIG, "release": {**OWN, "packaging": "files"}}).grid
SHARDS = ("000000-000006", "000007-000009")
CELL = {
    **{"sex": "F", "age_years": "below 60", "ventricles_ml": "30 to 40", "n_train": 3},
    **{"rejection_rate": 0.25, "rejection_rate_ci": [0.1, 0.45], "rejection_rate_n": 12, "kept_failed": 1},
    **{"ventricles_bias_ml": 0.52, "ventricles_mae_ml": 1.24},
}
MODEL = Copula(
    low={"age_years": 44, "ventricles_ml": 10, "brain_ml": 1200},
    high={"age_years": 82, "ventricles_ml": 100, "brain_ml": 1800},
    female_share=0.5,
    marginals=dict.fromkeys("FM", dict.fromkeys(NAMES[1:], Marginal(mean=0.5, spread=0.2))),
    correlation=((1, 0.5, -0.5), (0.5, 1, -0.5), (-0.5, -0.5, 1)),
)
REPORT = {
    "n_synthetic": 10,
    **audits("latents"),
    "ventricles_r": 0.98123,
    "ventricles_r_ci": [0.97, 0.99],
    "fid_features": "7, two scales",
    "nearest_train_ratio": 0.9,
    "tables": {"coverage": [{**CELL, "n": 10}, {**CELL, "n": 0}]},
}
MADE_BY = {
    "section": {"seed": 1},
    "weights_sha256": {"autoencoder": "ab" * 32},
    "precision": "32-true",
    "device": "CPU",
    "versions": {"torch": "2"},
}


def make_shard(results: Path, shard: str, passes=lambda index: index != 3) -> None:
    """Requests, volumes and measurements of one shard."""
    rows = shard_rows(shard)
    drawn = np.random.default_rng(rows[0]).normal([60, 40, 1500], [8, 15, 90], (len(rows), 3)).astype(np.float32)
    frame = pd.DataFrame(drawn, columns=["age_years", "ventricles_ml", "brain_ml"])
    identity = {"index": rows, "participant_id": [participant_id(index) for index in rows]}
    requested = frame.assign(**identity, seed=1, sex=["FM"[index % 2] for index in rows], in_support=True, design="uniform")
    requested = requested.assign(noise_index=rows, cell="")
    measured = pd.DataFrame({**identity, "ventricles_ml": frame["ventricles_ml"] + 1.0, "brain_ml": frame["brain_ml"], "icv_ml": 1600.0})
    passed = [passes(index) for index in rows]
    measured = measured.assign(
        age_predicted_years=61.5, age_spread_years=1.5, csf_ml=9.0, qc_pass=passed, qc_reason=["" if ok else "empty" for ok in passed]
    )
    for stage, table in (("request", requested), ("measure", measured)):
        (results / stage).mkdir(parents=True, exist_ok=True)
        table.to_parquet(results / stage / f"{shard}.parquet", index=False)
    with open_journal(results / "generate" / "work" / shard, "tiny") as journal:
        for index in rows:
            counts = quantise(np.random.default_rng(index).random(GRID.shape))
            commit(journal, index, encode_volume(counts, GRID, "SYNTHETIC"), voxel_sha256(counts), np.full((3, 1, 1, 1), index, np.float16))
        pack(journal, shard, results / "generate" / f"{shard}.json", MADE_BY)


def make_results(results: Path, shards=SHARDS, **release) -> Path:
    """Everything that `pack` and `release` read."""
    for shard in shards:
        make_shard(results, shard)
    config = parse({**CONFIG, "release": {**OWN, "packaging": "files", **release}})
    for stage in ("pack", "release"):
        (results / f"{stage}.json").write_text(section_json(config, stage))
    (results / "report.json").write_text(json.dumps(REPORT))
    (results / "protocol.yaml").write_text("protocol: 1\n")
    (results / "report-public.html").write_text(
        html.page("A report", "Ten volumes.", [html.section("Sound?", "<p>yes</p>")], kind="public")
    )
    (results / "model.json").write_text(MODEL.model_dump_json())
    training = pd.DataFrame({"participant_id": ["ukb-1000012", "ukb-1000027"], "sex": ["F", "M"], "age_years": [61.3, 55.2]})
    training.assign(ventricles_ml=[30.2361, 22.5], brain_ml=[1598.7513, 1490.1]).to_csv(results / "covariates.tsv", sep="\t", index=False)
    return results


def pack_args(results: Path, shard: str) -> list[Path]:
    """Arguments of the stage `pack`, in their order."""
    inputs = [results / "request" / f"{shard}.parquet", results / "generate" / f"{shard}.json", results / "measure" / f"{shard}.parquet"]
    return [results / "pack.json", *inputs, results / "pack" / f"{shard}.json"]


def pack_all(results: Path, shards=SHARDS) -> list[Path]:
    """Pack every shard; returns the manifests."""
    for shard in shards:
        pack_stage.main(*pack_args(results, shard))
    return [results / "pack" / f"{shard}.json" for shard in shards]


def release(results: Path, shards=SHARDS, sample: bool = False) -> Path:
    """Make a release of the packs that are there; returns its folder."""
    packs = [results / "pack" / f"{shard}.json" for shard in shards]
    beside = results / "release-sample" / "checksums.sha256" if sample else None
    out = results / "release" / "checksums.sha256"
    tables = results / "covariates.tsv", results / "model.json"
    inputs = (results / "release.json", packs, results / "report.json", *tables, out)
    release_stage.main(*inputs, sample=beside, page=results / "report-public.html")
    return results / "release"


def make_release(results: Path, **own) -> Path:
    """A release from nothing: results in `results`, packed; `own` are settings of `release`. Returns its folder."""
    make_results(results, **own)
    pack_all(results)
    return release(results)


def relist(folder: Path) -> None:
    """Write the checksums anew: what was changed since is vouched for, as a hostile release would."""
    names = [line[66:] for line in (folder / "checksums.sha256").read_text().splitlines()]
    kept = [name for name in names if (folder / name).is_file()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in kept]
    (folder / "checksums.sha256").write_text("".join(lines))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
