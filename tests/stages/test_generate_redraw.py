"""Rows that quality control rejects are drawn again: what comes out depends on the row alone, and is told with its attempt and reasons.

The judges are real, and have learned nothing; the rule is that half of all first draws are too flat.
"""

import random
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from judged import write_age_model
from networks import make_shard, requested, worker, write_results
from scans import TINY, write_segmenter

from brainldm import drawing, measuring
from brainldm.core.errors import ConfigError
from brainldm.core.files import read_json, write_json
from brainldm.core.judging import Quality
from brainldm.formats.nifti import SLOPE, decode_volume
from brainldm.formats.shards import Row, iterate_volumes, read_latents, read_manifest, read_member
from brainldm.formats.tables import read_parquet, write_parquet
from brainldm.metrics import strata
from brainldm.models import rows
from brainldm.models.training import make_fabric
from brainldm.stages import generate

WHOLE, ATTEMPTS = "000000-000023", 3
SHARDS = [range(0, 5), range(5, 7), range(7, 16), range(16, 17), range(17, 24)]
ANYTHING = {"icv_ml": (-1, 1e9), "brain_fraction": (-1, 1e9), "ventricles_fraction": (-1, 1e9), "max_saturated": 1.0, "min_spread": 0.0}


def write_judged(folder: Path, shards: list[range], **rules: object) -> Path:
    """A folder of results up to what draws and judges rows."""
    write_results(folder, shards, attempts=ATTEMPTS)
    section = folder / "configure/generate.json"
    write_json(section, {**read_json(section), "quality": Quality(**ANYTHING | rules).model_dump(mode="json")})
    write_segmenter(folder / "train_segmenter/model.safetensors")
    write_age_model(folder / "train_age/model.safetensors")
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The manifest of the first draws."""
    return make_shard(write_results(tmp_path_factory.mktemp("plain"), [range(24)]), WHOLE)


@pytest.fixture(scope="module")
def flat(plain: Path) -> float:
    """A contrast that half of the first draws do not have."""
    return float(np.median([volume.std() for _, volume in iterate_volumes(plain, TINY.grid)]))


@pytest.fixture(scope="module")
def one(tmp_path_factory, flat: float) -> Path:
    """A folder of results with all 24 rows in one shard, drawn again where they are flat."""
    results = write_judged(tmp_path_factory.mktemp("one"), [range(24)], min_spread=flat)
    make_shard(results, WHOLE)
    return results


def told(manifest: Path) -> dict[int, tuple[object, ...]]:
    """Every row's file and latent, its attempt and what was wrong with those before."""
    found = zip(read_manifest(manifest)["rows"], read_latents(manifest), strict=True)
    return {row["index"]: (read_member(manifest, row), latent.tobytes(), row["attempt"], row["rejected"]) for row, latent in found}


def spread(row: Row, manifest: Path) -> float:
    return float(decode_volume(read_member(manifest, row), TINY.grid, "a row").std())


def test_what_fails_is_drawn_again_and_nothing_else(one: Path, plain: Path, flat: float) -> None:
    manifest = one / f"generate/{WHOLE}.json"
    attempts = set()
    for row, first in zip(read_manifest(manifest)["rows"], read_manifest(plain)["rows"], strict=True):
        passed_at_once = spread(first, plain) >= flat
        assert (row["attempt"] == 0) == passed_at_once == (row["sha256"] == first["sha256"])
        assert row["rejected"] == ["empty"] * row["attempt"]
        assert spread(row, manifest) >= flat or row["attempt"] == ATTEMPTS - 1  # the last is kept in any case
        attempts.add(row["attempt"])
    assert attempts == {0, 1, 2}
    assert set(read_manifest(manifest)["provenance"]["weights_sha256"]) == {"autoencoder", "diffusion", "segmenter", "age"}


def test_five_shards_in_another_order_hold_the_same_rows_attempts_and_reasons(one: Path, flat: float, tmp_path: Path) -> None:
    write_judged(tmp_path, SHARDS, min_spread=flat)
    found: dict[int, tuple[object, ...]] = {}
    for numbers in (SHARDS[place] for place in (3, 0, 4, 2, 1)):
        found |= told(make_shard(tmp_path, f"{numbers[0]:06d}-{numbers[-1]:06d}"))
    assert found == told(one / f"generate/{WHOLE}.json")


def test_killed_between_draws_it_makes_the_same_bytes(one: Path, flat: float, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"kills follow from seed {seed}")
    draw = random.Random(seed)
    write_judged(tmp_path, [range(24)], min_spread=flat)
    for target in sorted(draw.sample(range(1, 17), 2)):
        process = worker(tmp_path, WHOLE, target)
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    make_shard(tmp_path, WHOLE)
    for end in (".json", ".tar", ".safetensors"):
        assert (one / f"generate/{WHOLE}{end}").read_bytes() == (tmp_path / f"generate/{WHOLE}{end}").read_bytes()


def test_a_row_asked_for_alone_is_judged_or_follows_the_table_of_its_dataset(one: Path, tmp_path: Path) -> None:
    expected = told(one / f"generate/{WHOLE}.json")
    chosen = [next(index for index, row in expected.items() if row[2] == attempt) for attempt in (2, 0, 1)]
    files = [
        one / "configure/generate.json",
        [one / f"request/{WHOLE}.parquet"],
        *(one / f"train_{name}/model.safetensors" for name in ("autoencoder", "diffusion")),
    ]
    judges = {name: one / f"train_{name}/model.safetensors" for name in ("segmenter", "age")}
    only = ",".join(map(str, chosen))
    generate.main(*files, tmp_path / "judged", only=only, **judges, device="cpu")
    table = read_parquet(files[1][0])
    write_parquet(tmp_path / "covariates.parquet", table.assign(attempt=[expected[index][2] for index in table["index"]]))
    generate.main(files[0], [tmp_path / "covariates.parquet"], *files[2:], tmp_path / "followed", only=only, device="cpu")
    for folder in ("judged", "followed"):
        found = {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        assert found == {f"{index:06d}.nii.gz": expected[index][0] for index in chosen}
    with pytest.raises(ConfigError, match=r"generate\.json: expected --segmenter, --age .* because generate\.attempts is 3"):
        generate.main(*files, tmp_path / "none", only=only, device="cpu")
    assert not (tmp_path / "none").exists()


class Saturating(torch.nn.Module):
    """A decoder that is broken for some latents, known by their bytes in 16 bits, and right for all others."""

    def __init__(self, decoder: torch.nn.Module, broken: set[bytes]) -> None:
        super().__init__()
        self.decoder, self.broken = decoder, broken

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        images = self.decoder.decode(latents)
        return torch.full_like(images, 2.0) if latents.half().numpy().tobytes() in self.broken else images


def test_a_generator_that_breaks_every_fourth_first_draw_is_caught_exactly_there(one: Path, plain: Path) -> None:
    models = drawing.Models(*(one / f"train_{name}/model.safetensors" for name in ("autoencoder", "diffusion", "segmenter", "age")))
    fabric, how = make_fabric("cpu", "32-true", 0), TINY.generate.model_copy(update={"attempts": ATTEMPTS})
    networks = rows.load(models.autoencoder, models.diffusion, fabric, how)
    broken = {latent.tobytes() for latent in read_latents(plain)[::4]}
    judge = measuring.judge(measuring.load(models.segmenter, models.age, TINY.grid, fabric), Quality(**ANYTHING | {"max_saturated": 0.99}))
    networks = networks._replace(autoencoder=Saturating(networks.autoencoder, broken))
    made = {row.index: row for row in rows.make(networks, requested(range(24)), how, SLOPE, judge)}
    for index, latent in enumerate(read_latents(plain)):
        assert made[index].rejected == (("saturated",) if index % 4 == 0 else ())
        assert np.array_equal(made[index].latent, latent) == (index % 4 != 0)
    table = pd.DataFrame(
        {"attempt": [row.attempt for row in made.values()], "qc_pass": [not judge(row.counts[None])[0] for row in made.values()]}
    )
    assert strata.rejections(table) | {"rejection_rate_ci": ()} == {
        "rejection_rate": 6 / 30,
        "rejection_rate_n": 30,
        "rejection_rate_ci": (),
        "kept_failed": 0,
    }
