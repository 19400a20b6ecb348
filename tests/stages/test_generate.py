"""The stage generate: the same 24 rows as one shard, as five, in another order, alone, after kills: byte-identical, none missing or double.

Guidance is used, off by default, and refused for a model that cannot be guided.
"""

import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from networks import hold_file, make_shard, worker, write_networks, write_requests, write_results
from scans import TINY, write_section

from brainldm.core.errors import ConfigError, DataError
from brainldm.core.requeue import REQUEUE
from brainldm.formats.nifti import SLOPE, voxel_sha256
from brainldm.formats.shards import read_latents, read_manifest, read_member
from brainldm.formats.tables import read_parquet, write_parquet
from brainldm.models import rows
from brainldm.models.training import make_fabric
from brainldm.stages import generate

WHOLE = "000000-000023"
SHARDS = [range(0, 5), range(5, 7), range(7, 16), range(16, 17), range(17, 24)]
MODELS = tuple(f"train_{name}/model.safetensors" for name in ("autoencoder", "diffusion"))


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """A folder of results with all 24 rows in one shard, made without a disturbance."""
    results = write_results(tmp_path_factory.mktemp("one"), [range(24)])
    make_shard(results, WHOLE)
    return results


def contents(manifest: Path) -> dict[int, tuple[bytes, bytes]]:
    """Every row's file and latent, as bytes."""
    found = zip(read_manifest(manifest)["rows"], read_latents(manifest), strict=True)
    return {row["index"]: (read_member(manifest, row), latent.tobytes()) for row, latent in found}


def same_files(a: Path, b: Path) -> bool:
    return all((a / f"generate/{WHOLE}{end}").read_bytes() == (b / f"generate/{WHOLE}{end}").read_bytes() for end in ENDS)


ENDS = (".json", ".tar", ".safetensors")


def test_five_shards_in_another_order_hold_the_same_rows(one: Path, tmp_path: Path) -> None:
    write_results(tmp_path, SHARDS)
    found: dict[int, tuple[bytes, bytes]] = {}
    for numbers in (SHARDS[place] for place in (3, 0, 4, 2, 1)):
        table = tmp_path / f"request/{numbers[0]:06d}-{numbers[-1]:06d}.parquet"
        write_parquet(table, read_parquet(table).sample(frac=1, random_state=3))  # nor does the order within a table matter
        shard = contents(make_shard(tmp_path, table.stem))
        assert not found.keys() & shard.keys()
        found |= shard
    assert found == contents(one / f"generate/{WHOLE}.json")
    assert len({file for file, _ in found.values()}) == 24


def test_rows_asked_for_by_number_are_those_of_the_shard(one: Path, tmp_path: Path) -> None:
    requests = write_requests(tmp_path, SHARDS)
    files = (one / "configure/generate.json", requests, *(one / name for name in MODELS))
    generate.main(*files, tmp_path / "few", only="17,3,20", device="cpu")
    expected = contents(one / f"generate/{WHOLE}.json")
    found = {path.name: path.read_bytes() for path in (tmp_path / "few").iterdir()}
    assert found == {f"{index:06d}.nii.gz": expected[index][0] for index in (17, 3, 20)}
    with pytest.raises(DataError, match=r"request/000017-000023\.parquet: expected the rows 2,99, found none for \[99\]"):
        generate.main(*files, tmp_path / "none", only="2,99", device="cpu")
    with pytest.raises(ConfigError, match=r"--rows: expected row indices such as 17,4021, found '3-5'"):
        generate.main(*files, tmp_path / "none", only="3-5", device="cpu")
    assert not (tmp_path / "none").exists()


def test_killed_at_three_random_moments_it_makes_the_same_bytes(one: Path, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"kills follow from seed {seed}")
    draw, work = random.Random(seed), write_results(tmp_path, [range(24)]) / "generate/work" / WHOLE
    for target in sorted(draw.sample(range(1, 17), 3)):
        process = worker(tmp_path, WHOLE, target)
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    before = len(list(work.glob("0*.row")))
    assert 0 < before < 24
    make_shard(tmp_path, WHOLE)
    assert same_files(one, tmp_path)
    assert not work.exists()


def test_told_to_end_it_keeps_what_it_has_and_asks_to_be_started_again(one: Path, tmp_path: Path) -> None:
    write_results(tmp_path, [range(24)])
    process = worker(tmp_path, WHOLE, 3)
    process.terminate()
    hold_file(tmp_path).unlink()
    process.join()
    assert process.exitcode == REQUEUE
    work = tmp_path / "generate/work" / WHOLE
    assert 3 <= len(list(work.glob("0*.row"))) == len((work / "journal.jsonl").read_text().splitlines()) - 1
    assert not list((tmp_path / "generate").glob("*.*"))
    make_shard(tmp_path, WHOLE)
    assert same_files(one, tmp_path)


def test_a_latent_decodes_again_to_the_same_voxels_without_the_u_net(one: Path) -> None:
    manifest = one / f"generate/{WHOLE}.json"
    networks = rows.load(*(one / name for name in MODELS), make_fabric("cpu", "32-true", 0), TINY.generate)
    networks.diffusion.forward = None  # whoever calls it fails
    latents = read_latents(manifest)
    assert latents.dtype == np.float16
    for row, latent in zip(read_manifest(manifest)["rows"], latents, strict=True):
        assert voxel_sha256(rows.decode(networks, latent, SLOPE, "a row")) == row["voxel_sha256"]


@pytest.fixture
def guidable(tmp_path: Path) -> Path:
    """Two requested rows, and a model that can be guided; one that cannot lies in the folder plain."""
    write_results(tmp_path, [range(2)])
    write_networks(tmp_path, dropout=0.1)
    write_networks(tmp_path / "plain")
    return tmp_path


def guided(folder: Path, guidance: float | None, model: str = "") -> list[str]:
    """The SHA-256 of every volume's voxels."""
    section = write_section(folder / "section.json", "generate", attempts=1, **({} if guidance is None else {"guidance": guidance}))
    out = folder / f"{model}{guidance}/000000-000001.json"
    request = [folder / "request/000000-000001.parquet"]
    generate.main(section, request, folder / MODELS[0], folder / model / MODELS[1], out, device="cpu")
    return [row["voxel_sha256"] for row in read_manifest(out)["rows"]]


def test_guidance_is_off_by_default_and_changes_volumes_when_on(guidable: Path) -> None:
    plain = guided(guidable, None)
    assert guided(guidable, 1.0) == plain
    assert not set(guided(guidable, 3.0)) & set(plain)


def test_a_model_trained_without_drop_out_is_refused_by_name_before_anything_is_sampled(guidable: Path) -> None:
    with pytest.raises(ConfigError, match=r"plain/\S+: .*condition_dropout above 0, because generate\.guidance is 3"):
        guided(guidable, 3.0, "plain")
    assert not list((guidable / "plain3.0").glob("*.*"))
    assert len(guided(guidable, 1.0, "plain")) == 2


def test_rows_of_one_noise_index_differ_in_their_covariates_only(guidable: Path) -> None:
    (path,) = write_requests(guidable, [range(2)])
    same = read_parquet(path).assign(noise_index=1, sex="F", age_years=50.0, ventricles_ml=20.0, brain_ml=1400.0)
    own, shared, paired = same.assign(noise_index=[0, 1]), same, same.assign(ventricles_ml=[20.0, 60.0])
    found = []
    for table in (own, shared, paired):
        write_parquet(path, table)
        found.append(guided(guidable, None))
    assert found[0][1] == found[1][0] == found[1][1] == found[2][0]
    assert len({found[0][0], found[0][1], found[2][1]}) == 3
