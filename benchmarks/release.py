"""5,000 small volumes packed and released: time and memory of each step; then what a volume of 1 mm takes, for the figures of 100,000.

`python benchmarks/release.py` (some minutes of one core). The volumes are noise inside a ball, which compresses worse than a brain.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from brainldm.core.config import parse, section_json
from brainldm.core.gate import audits
from brainldm.core.grid import Grid
from brainldm.core.rows import participant_id, shard_names, shard_rows
from brainldm.formats.bids import volume_path
from brainldm.formats.nifti import encode_volume, quantise, voxel_sha256
from brainldm.formats.tars import write_tar

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/support"))
from release_files import MODEL  # noqa: E402

N_SMALL, PER_SHARD, N_LARGE, N_WANTED = 5000, 250, 24, 100_000
LARGE = Grid(shape=(160, 224, 160), spacing_mm=1.0, center_mm=(0, -17, 7))
ORIGIN = {"section": {}, "weights_sha256": {"autoencoder": "0"}, "precision": "32-true", "device": "CPU", "versions": {}}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        small = Path(name) / "small"
        config = settings(small, None, 262_144)
        make(small, shard_names(N_SMALL, PER_SHARD), config.grid)
        steps = packed_and_released(small, N_SMALL)
        print(
            f"{N_SMALL} volumes of {config.grid.shape}: "
            + "; ".join(f"{step} {s:.0f} s, {mb:.0f} MB at most" for step, (s, mb) in steps.items())
        )
        large = Path(name) / "large"
        config = settings(large, LARGE, 1 << 24)
        make(large, shard_names(N_LARGE, N_LARGE), LARGE)
        (seconds, megabytes), volume_bytes = packed_and_released(large, N_LARGE)["pack"], tar_bytes(large) / N_LARGE
        print(f"a volume of {LARGE.shape}: {volume_bytes / 1e6:.2f} MB, packed in {seconds / N_LARGE:.2f} s, {megabytes:.0f} MB at most")
        rates = {kind: hash_rate(kind) for kind in ("sha256", "sha1")}
        print("; ".join(f"{kind} {rate / 1e9:.2f} GB/s" for kind, rate in rates.items()))
        total = N_WANTED * volume_bytes
        hours = sum(total / rate for rate in rates.values()) / 3600
        packing = N_WANTED * seconds / N_LARGE / 3600
        print(f"{N_WANTED} of them: {total / 1e12:.2f} TB, hashed once by both in {hours:.2f} h, packed in {packing:.0f} h of one core")
        print(f"torrent: {total / (1 << 24) * 20 / 1e6:.2f} MB of hashes in pieces of 16 MiB; {-(-N_WANTED // 500)} tars of 500 volumes")


def settings(folder: Path, grid: Grid | None, piece_length: int):
    """The demo's configuration with tars, on another grid perhaps; sections are written."""
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    values |= {"pack": {"piece_length": piece_length}, "release": {**values["release"], "packaging": "tars"}}
    if grid:
        values["grid"] = grid.model_dump(mode="json")
    config = parse(values)
    folder.mkdir()
    for stage in ("pack", "release"):
        (folder / f"{stage}.json").write_text(section_json(config, stage))
    return config


def make(folder: Path, shards: list[str], grid: Grid) -> None:
    """Requests, volumes and measurements of shards, as the stages before leave them."""
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in grid.shape), indexing="ij")
    ball = (sum(axis**2 for axis in axes) < 0.8) * 0.5
    (folder / "report.json").write_text(json.dumps(audits("tars")))
    (folder / "model.json").write_text(MODEL.model_dump_json())
    (folder / "protocol.yaml").write_text("protocol: 1\n")
    (folder / "covariates.tsv").write_text("participant_id\tsex\tage_years\tventricles_ml\tbrain_ml\nsomeone\tF\t50.5\t20.5\t1400.5\n")
    for stage in ("request", "generate", "measure"):
        (folder / stage).mkdir()
    for shard in shards:
        rows, random = list(shard_rows(shard)), np.random.default_rng(int(shard[:6]))
        contents, records = [], []
        for index in rows:
            counts = quantise(ball * (1 + 0.02 * random.standard_normal(grid.shape, np.float32)))
            content = encode_volume(counts, grid, f"SYNTHETIC T1w brainldm {participant_id(index)}")
            contents.append((volume_path(participant_id(index)), content))
            hashes = {"sha256": hashlib.sha256(content).hexdigest(), "voxel_sha256": voxel_sha256(counts), "latent_sha256": "0" * 64}
            records.append(
                {"index": index, "participant_id": participant_id(index), "path": contents[-1][0], "n_bytes": len(content), **hashes}
            )
        offsets = write_tar(folder / "generate" / f"{shard}.tar", contents, 512)
        placed = [{**record, "tar_offset": offset} for record, offset in zip(records, offsets, strict=True)]
        (folder / "generate" / f"{shard}.json").write_text(json.dumps({"shard": shard, "rows": placed, "provenance": ORIGIN}))
        identity = {"index": rows, "participant_id": [participant_id(index) for index in rows]}
        drawn = {"age_years": random.uniform(44, 82, len(rows)), "ventricles_ml": random.uniform(10, 90, len(rows)), "brain_ml": 1500.0}
        requested = pd.DataFrame({**identity, "seed": 1, "sex": "F", "in_support": True, "design": "uniform", "noise_index": rows, **drawn})
        requested = requested.assign(cell="").astype(dict.fromkeys(drawn, np.float32))
        requested.to_parquet(folder / "request" / f"{shard}.parquet", index=False)
        measured = {**drawn, "icv_ml": 1600.0, "age_predicted_years": 60.0, "qc_pass": True, "qc_reason": ""}
        pd.DataFrame({**identity, **measured}).to_parquet(folder / "measure" / f"{shard}.parquet", index=False)


def packed_and_released(folder: Path, n_rows: int) -> dict[str, tuple[float, float]]:
    """Seconds and the largest memory (MB) of packing all shards, releasing them, and verifying the release."""
    shards = sorted(path.stem for path in (folder / "generate").glob("*.json"))
    of_shard = ("request/{}.parquet", "generate/{}.json", "measure/{}.parquet", "pack/{}.json")
    names = ("--request", "--shard", "--measure", "--out")
    pack = [
        ["pack", "--section", folder / "pack.json", *pairs(names, [folder / path.format(shard) for path in of_shard])] for shard in shards
    ]
    release = [
        "release",
        "--section",
        folder / "release.json",
        *pairs(["--pack"] * len(shards), [folder / f"pack/{s}.json" for s in shards]),
    ]
    release += ["--report", folder / "report.json", "--covariates", folder / "covariates.tsv", "--covariate-model", folder / "model.json"]
    release += ["--out", folder / "release/checksums.sha256"]
    steps = {"pack": pack, "release": [release], "verify": [["verify", folder / "release"]]}
    return {step: timed(commands) for step, commands in steps.items()}


def pairs(names, values) -> list[object]:
    return [word for pair in zip(names, values, strict=True) for word in pair]


def timed(commands: list[list[object]]) -> tuple[float, float]:
    """Seconds of all commands, and the largest memory in MB of one of them."""
    start, most = time.monotonic(), 0
    for command in commands:
        words = [sys.executable, "-m", "brainldm", *map(str, command)]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"brainldm {command[0]} failed with status {status}")
        most = max(most, used.ru_maxrss)
    return time.monotonic() - start, most / 1024


def tar_bytes(folder: Path) -> float:
    """Bytes of the volumes of a release."""
    return float(pd.read_parquet(folder / "release/covariates.parquet")["n_bytes"].sum())


def hash_rate(kind: str) -> float:
    """Bytes per second of CPU time."""
    block, start = bytes(1 << 26), time.process_time()
    for _ in range(8):
        hashlib.new(kind, block).hexdigest()
    return 8 * len(block) / (time.process_time() - start)


if __name__ == "__main__":
    main()
