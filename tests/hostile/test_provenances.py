"""What a stranger's release says of what made it: read by schema, within bounds, before a network is loaded."""

import copy
import json
from pathlib import Path

import plain_release
import pytest

from brainldm.core.errors import DataError
from brainldm.formats.dataset import open_dataset

SECTION = {"sampler": "ddim", "steps": 5, "eta": 0.0, "guidance": 1.0, "batch_size": 4, "compile": False, "attempts": 1}
GIVEN = {"stage": "generate", "seed": 1, "precision": "32-true", "grid": plain_release.GRID.model_dump(mode="json"), "section": SECTION}
MADE_ON = [{"device": "CPU", "precision": "32-true", "versions": {"torch": "2"}, "shards": [plain_release.SHARD]}]
SOUND = {"section": GIVEN, "weights_sha256": {"autoencoder": "a" * 64, "diffusion": "b" * 64}, "made_on": MADE_ON}
CHANGES = {
    "no section": ("section", None),
    "a section that is a text": ("section", "x"),
    "a batch of a billion": ("section.section.batch_size", 10**9),
    "a batch below zero": ("section.section.batch_size", -1),
    "2^62 steps": ("section.section.steps", 2**62),
    "an unknown sampler": ("section.section.sampler", "\x1b[2J"),
    "an unknown setting": ("section.section.command", "touch pwned"),
    "a grid of 2^60 voxels": ("section.grid.shape", [2**20, 2**20, 2**20]),
    "a grid of none": ("section.grid.shape", [0, 5, 5]),
    "a grid below zero": ("section.grid.shape", [-5, -5, 5]),
    "a precision that is none": ("section.precision", "\x1b[2J"),
    "a seed of 2^70": ("section.seed", 2**70),
    "weights that are a list": ("weights_sha256", [1]),
    "no machines": ("made_on", None),
    "machines that are texts": ("made_on", ["cpu"]),
    "a machine without shards": ("made_on", [{"device": "CPU", "precision": "32-true", "versions": {}}]),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_release.make(tmp_path_factory.mktemp("made") / "release")


def told(made: Path, text: str) -> None:
    (made / "provenance.json").write_text(text)
    open_dataset(made)


@pytest.mark.parametrize("name", CHANGES)
def test_a_hostile_provenance_is_one_error(name: str, made: Path) -> None:
    told(made, json.dumps(SOUND))
    where, value = CHANGES[name]
    spoilt = copy.deepcopy(SOUND)
    *path, last = where.split(".")
    inner = spoilt
    for key in path:
        inner = inner[key]
    inner[last] = value
    with pytest.raises(DataError, match=r"provenance\.json") as found:
        told(made, json.dumps(spoilt))
    assert str(found.value).isprintable()


@pytest.mark.parametrize("text", ["", "null", "[]", "5", "{", "[" * 200_000, "\x00", '{"section": NaN}', "9" * 100_000])
def test_a_provenance_that_is_none_is_one_error(text: str, made: Path) -> None:
    with pytest.raises(DataError, match=r"provenance\.json") as found:
        told(made, text)
    assert str(found.value).isprintable()
