"""The small model that ships with the package: where it lies, and how a finished run is packed into such a folder."""

import datetime
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from brainldm import __version__
from brainldm.core.errors import DataError
from brainldm.core.files import read_json, sha256, write_json
from brainldm.core.outputs import new_folder
from brainldm.core.regular_files import file_inside
from brainldm.models import checkpoint

PACKAGED = Path(__file__).parents[1] / "pretrained"
NETWORKS = ("autoencoder", "diffusion")
SECTION = "configure/generate.json"
MEASURING = (  # what `brainldm score` reads, as it is: statistics of features hold for the very weights that made them
    "train_segmenter/model.safetensors",
    "train_age/model.safetensors",
    "evaluate/reference.npz",
    "evaluate/protocol.yaml",
    *(f"configure/{stage}.json" for stage in ("preprocess", "measure", "evaluate")),
)
AT_ONCE = 4  # volumes; who samples a few should not wait for a batch of many


class Model(NamedTuple):
    """Two checkpoints, and where there is one the section file of `generate` that tells how they are sampled."""

    autoencoder: Path
    diffusion: Path
    section: Path | None


def find(folder: Path) -> Model:
    """A model's files in a folder laid out as results/: the packaged one, an imported bundle, a run; DataError if one is missing."""
    names = [*(f"train_{name}/model.safetensors" for name in NETWORKS), SECTION]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise DataError(f"{folder}: expected a model laid out as results/, found no {missing[0]}")
    return Model(*(file_inside(folder, name) for name in names))


Report = dict[str, Any]


def pack(results: Path, out: Path, told: dict[str, str], overwrite: bool = False, publishable: Callable[[Report], Report] = dict) -> None:
    """Write the networks of a finished run in 16-bit floats, how to sample them, what measured them, and recipe.json: what made them.

    `told` (command, hardware) goes into the recipe as it is, of the evaluation's report what `publishable` returns, of the configuration
    all but paths. OutputError if `out` holds files and `overwrite` is not set.
    """
    given = find(results)
    sections = {path.stem: read_json(path) for path in sorted((results / "configure").glob("*.json"))}
    measured = {
        name: value for name, value in publishable(read_json(results / "evaluate/report.json")).items() if not isinstance(value, dict)
    }
    own = sections["generate"]
    shared = {name: own[name] for name in ("seed", "precision", "grid")}
    trained = datetime.datetime.fromtimestamp(given.diffusion.stat().st_mtime, datetime.UTC)
    with new_folder(out, overwrite, (results,)) as folder:
        files = {name: _halved(path, folder, name) for name, path in zip(NETWORKS, given[:2], strict=True)}
        for name in filter(lambda name: (results / name).is_file(), MEASURING):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results / name, folder / name)
        write_json(folder / "evaluate/report.json", measured)
        write_json(folder / SECTION, own | {"section": own["section"] | {"batch_size": AT_ONCE}})
        recipe = told | {
            "trained": trained.date().isoformat(),
            "versions": {"brainldm": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "files": files,
            "configuration": shared | {stage: _without_paths(section["section"]) for stage, section in sections.items()},
            "measured": measured,
        }
        write_json(folder / "recipe.json", recipe)


def _without_paths(value: Any) -> Any:
    """Return a part of the configuration in which no path tells of the machine that it was written for."""
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return "(a path)"
    return value


def _halved(path: Path, folder: Path, name: str) -> dict[str, Any]:
    """Write a checkpoint's tensors as float16; what the file is and was."""
    tensors, spec = checkpoint.load(path, name)
    halved = {key: tensor.half() for key, tensor in tensors.items()}
    if damaged := [key for key, tensor in halved.items() if not tensor.isfinite().all()]:
        raise DataError(f"{path}: expected weights within the range of 16-bit floats, found others in {damaged[0]}")
    packed = folder / f"train_{name}/model.safetensors"
    checkpoint.save(packed, halved, spec)
    return {"n_bytes": packed.stat().st_size, "sha256": sha256(packed), "made_from_sha256": sha256(path)}
