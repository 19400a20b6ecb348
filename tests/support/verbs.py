"""Every verb that writes, as the words of a command line, with small real inputs; and what a folder holds."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from bundle_files import SMALL_AUTOENCODER, SMALL_DIFFUSION, write_old_files
from networks import write_results
from release_files import SHARDS, make_release
from scans import TINY

from brainldm.commands import example
from brainldm.commands.bundle import IMPORTED, save
from brainldm.core.config import section_json
from brainldm.core.files import write_json, write_text
from brainldm.models import bundle

PERSON = ["--age", "65", "--sex", "F", "--ventricles-ml", "30", "--brain-ml", "1400"]
MINE = b"the only copy"


class Verb(NamedTuple):
    """Words before the output; whether it is a file, or a folder that may hold other files; names, where no run shows them."""

    words: Callable[[Path], list[object]]
    option: str | None = "--out"
    is_file: bool = False
    is_shared: bool = False
    is_run: bool = True  # else `writes` tells what it would write: a run takes too long
    writes: tuple[str, ...] = ()


def make_inputs(folder: Path) -> Path:
    """Everything that the verbs read, in one folder."""
    make_release(folder / "made")
    results = write_results(folder / "results", [range(2)])
    write_json(results / "evaluate/report.json", {"ventricles_r": 0.5})
    write_text(results / "configure/train_diffusion.json", section_json(TINY, "train_diffusion"))
    files = write_old_files(folder / "old")
    save(folder / "small", bundle.read_autoencoder(files[0], SMALL_AUTOENCODER), bundle.read_diffusion(files[1], SMALL_DIFFUSION))
    example.main(folder / "bids", n=2)
    (folder / "people.csv").write_text("id,age,sex,scan\n1,60,F,a.nii.gz\n2,70,M,b.nii.gz\n")
    (folder / "map.yaml").write_text("participant_id: id\nage_years: age\nsex: sex\nt1w: scan\n")
    volumes = folder / "volumes"
    volumes.mkdir()
    for place, name in enumerate(("a", "b")):
        noise = np.random.default_rng(place).uniform(0.2, 1, (32, 40, 32)).astype(np.float32)
        nib.save(nib.Nifti1Image(noise, np.diag([5.0, 5, 5, 1])), volumes / f"{name}.nii.gz")
        (folder / f"{name}.nii.gz").write_bytes((volumes / f"{name}.nii.gz").read_bytes())
    return folder


def _networks(folder: Path, kind: str) -> list[object]:
    return [f"--{name}={folder}/{kind}/train_{name}/model.safetensors" for name in ("autoencoder", "diffusion")]


def _released(made: Path) -> list[object]:
    packs = [word for shard in SHARDS for word in ("--pack", made / f"pack/{shard}.json")]
    tables = ["--covariates", made / "covariates.tsv", "--covariate-model", made / "model.json"]
    texts = ["--report", made / "report.json", "--page", made / "report-public.html"]
    return ["--section", made / "release.json", *packs, *texts, *tables]


def _remade(folder: Path) -> list[object]:
    made = folder / "results"
    given = ["--section", made / "configure/generate.json", "--request", made / "request/000000-000001.parquet"]
    return ["generate", *given, *_networks(folder, "results"), "--rows", "1", "--device", "cpu"]


VERBS = {
    "get": Verb(lambda folder: ["get", folder / "made/release", "-n", "3"]),
    "sample": Verb(lambda folder: ["sample", *PERSON, *_networks(folder, "results"), "--steps", "1", "--device", "cpu"]),
    "score": Verb(lambda folder: ["score", folder / "volumes"], is_run=False, writes=("score.json", "volumes.tsv", "reference.npz")),
    "view": Verb(lambda folder: ["view", folder / "volumes/a.nii.gz"], is_file=True),
    "init": Verb(lambda folder: ["init", "--preset", "tiny"], option=None, is_shared=True),
    "example": Verb(lambda folder: ["example", "-n", "1"], option=None),
    "manifest bids": Verb(lambda folder: ["manifest", "bids", folder / "bids"], is_file=True),
    "manifest table": Verb(lambda folder: ["manifest", "table", folder / "people.csv", "--mapping", folder / "map.yaml"], is_file=True),
    "config schema": Verb(lambda folder: ["config", "schema"], is_file=True),
    "config reference": Verb(lambda folder: ["config", "reference"], is_file=True),
    "bundle import": Verb(
        lambda folder: [
            "bundle", "import", "--autoencoder", folder / "old/autoencoder.pth", "--diffusion", folder / "old/diffusion_model.pth"
        ],
        is_run=False,
        writes=IMPORTED,
    ),
    "bundle export": Verb(lambda folder: ["bundle", "export", *_networks(folder, "small")]),
    "bundle pack": Verb(lambda folder: ["bundle", "pack", "--results", folder / "results", "--command", "make", "--hardware", "none"]),
    "generate --rows": Verb(_remade),
}  # fmt: skip


def command(verb: Verb, folder: Path, out: Path, overwrite: bool = False) -> list[str]:
    """The whole command line."""
    words = [*verb.words(folder), *([verb.option] if verb.option else []), out, *(["--overwrite"] if overwrite else [])]
    return [str(word) for word in words]


def state(folder: Path) -> dict[str, object]:
    """Everything below a folder: what links lead to, what files hold and when they were changed, empty folders."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place) / name
            key = str(path.relative_to(folder))
            if path.is_symlink():
                found[key] = os.readlink(path)
            else:
                found[key] = (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else "folder"
    return found
