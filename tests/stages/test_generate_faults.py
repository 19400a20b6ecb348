"""What can go wrong while a shard is made: one clear error, nothing half-written, and the rows that were finished are kept."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from networks import make_shard, requested, write_networks, write_results

from brainldm.core.errors import DataError
from brainldm.core.files import sha256
from brainldm.formats.shard_set import join
from brainldm.formats.tables import write_parquet
from brainldm.models import checkpoint

SHARD = "000000-000007"
ROW_BYTES = 13_000  # of one finished row: volume and latent


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The shard, made without a fault."""
    return make_shard(write_results(tmp_path_factory.mktemp("whole"), [range(8)]), SHARD)


@contextmanager
def no_file_above(n_bytes: int) -> Iterator[None]:
    """No file may become larger, which fails as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def outputs(results: Path) -> list[str]:
    """What stands where finished shards stand, and whatever was left half-written."""
    return [
        path.name for path in (results / "generate").rglob("*") if path.suffix in (".json", ".tar", ".safetensors") or ".tmp" in path.name
    ]


def rows_kept(results: Path) -> dict[str, tuple[int, str]]:
    return {path.name: (path.stat().st_mtime_ns, sha256(path)) for path in (results / "generate/work" / SHARD).glob("*.row")}


def goes_on(results: Path, whole: Path) -> None:
    """Started again it makes the same shard."""
    assert sha256(make_shard(results, SHARD).with_suffix(".tar")) == sha256(whole.with_suffix(".tar"))


def test_where_the_tar_finds_no_room_every_row_is_kept(whole: Path, tmp_path: Path) -> None:
    write_results(tmp_path, [range(8)])
    seen = []
    for _ in range(2):
        with (
            pytest.raises(DataError, match=rf"generate/{SHARD}\.tar: expected to write there, .*File too large"),
            no_file_above(2 * ROW_BYTES),
        ):
            make_shard(tmp_path, SHARD)
        assert outputs(tmp_path) == []
        seen.append(rows_kept(tmp_path))
    assert len(seen[0]) == 8
    assert seen[0] == seen[1]  # the second time none was made again
    goes_on(tmp_path, whole)


def test_where_a_row_finds_no_room_the_first_error_ends_it(whole: Path, tmp_path: Path) -> None:
    write_results(tmp_path, [range(8)])
    with pytest.raises(DataError, match=r"expected to write there, .*File too large"), no_file_above(ROW_BYTES // 4):
        make_shard(tmp_path, SHARD)
    assert (rows_kept(tmp_path), outputs(tmp_path)) == ({}, [])
    goes_on(tmp_path, whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with room for half the rows; it can be enlarged."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={8 * 4096 + 4 * ROW_BYTES}", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_on_a_full_disk_finished_rows_are_kept_and_with_more_room_it_goes_on(whole: Path, tmp_path: Path, small_disk: Path) -> None:
    write_results(tmp_path / "results", [range(8)])
    (tmp_path / "results/generate").symlink_to(small_disk)
    with pytest.raises(DataError, match=r"expected to write there, .*No space left on device"):
        make_shard(tmp_path / "results", SHARD)
    kept = rows_kept(tmp_path / "results")
    assert 0 < len(kept) < 8
    assert outputs(tmp_path / "results") == []
    subprocess.run(["mount", "-o", "remount,size=16M", small_disk], check=True)
    goes_on(tmp_path / "results", whole)


def test_a_file_where_a_folder_should_be_is_named(whole: Path, tmp_path: Path) -> None:
    """As good as a folder that may not be written to, which stops no superuser."""
    write_results(tmp_path, [range(8)])
    (tmp_path / "generate").write_text("not a folder")
    with pytest.raises(DataError, match=r"generate/work: expected to write there, found that it fails \(Not a directory\)"):
        make_shard(tmp_path, SHARD)
    assert (tmp_path / "generate").read_text() == "not a folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="a superuser may write to any folder")
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    write_results(tmp_path, [range(8)])
    (tmp_path / "generate").mkdir(mode=0o555)
    with pytest.raises(DataError, match=r"generate/work: expected to write there, .*Permission denied"):
        make_shard(tmp_path, SHARD)


def test_weights_swapped_between_two_shards_are_found_where_shards_are_joined(tmp_path: Path) -> None:
    write_results(tmp_path, [range(2), range(2, 4)])
    first = make_shard(tmp_path, "000000-000001")
    before = first.with_suffix(".tar").read_bytes()
    write_networks(tmp_path, seed=1)
    second = make_shard(tmp_path, "000002-000003")
    with pytest.raises(DataError, match=r"000000-000001\.json and \S*000002-000003\.json: .*weights_sha256\.autoencoder .*\.diffusion"):
        join([first, second])
    assert first.with_suffix(".tar").read_bytes() == before
    make_shard(tmp_path, "000000-000001")  # as after a training: Snakemake makes every shard again
    assert len(join([first, second])) == 2


def test_weights_swapped_within_a_shard_make_all_its_rows_again(tmp_path: Path) -> None:
    write_results(tmp_path, [range(8)])
    digests = []
    for seed in (0, 1):
        write_networks(tmp_path, seed=seed)
        with pytest.raises(DataError), no_file_above(2 * ROW_BYTES):
            make_shard(tmp_path, SHARD)
        digests.append({digest for _, digest in rows_kept(tmp_path).values()})
    assert [len(found) for found in digests] == [8, 8]
    assert not digests[0] & digests[1]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("ventricles_ml", np.nan, r"expected finite numbers, found nan as ventricles_ml of row 5"),
        ("sex", "X", r"expected sex to be F or M, found X"),
        ("index", 4, r"expected every row of shard 000000-000007 once"),
    ],
)
def test_a_request_that_cannot_be_made_is_refused_by_name(tmp_path: Path, column: str, value: object, expected: str) -> None:
    write_results(tmp_path, [range(8)])
    table = requested(range(8))
    table.loc[5, column] = value
    write_parquet(tmp_path / f"request/{SHARD}.parquet", table)
    with pytest.raises(DataError, match=rf"request/{SHARD}\.parquet: {expected}"):
        make_shard(tmp_path, SHARD)
    assert not (tmp_path / "generate").exists()


def test_weights_that_overflow_are_one_error_that_names_the_row(tmp_path: Path) -> None:
    write_results(tmp_path, [range(8)])
    path = tmp_path / "train_autoencoder/model.safetensors"
    tensors, spec = checkpoint.load(path, "autoencoder")
    checkpoint.save(path, tensors | {"spread": tensors["spread"] * 3e38}, spec)
    with pytest.raises(DataError, match="row 0: expected finite intensities"):
        make_shard(tmp_path, SHARD)
    assert (rows_kept(tmp_path), outputs(tmp_path)) == ({}, [])


def test_the_command_line_says_one_line_and_fails(tmp_path: Path) -> None:
    write_results(tmp_path, [range(8)])
    (tmp_path / "file").write_text("not a folder")
    files = {"section": "configure/generate.json", "request": f"request/{SHARD}.parquet", "out": f"file/{SHARD}.json"}
    files |= {name: f"train_{name}/model.safetensors" for name in ("autoencoder", "diffusion")}
    command = [f"--{option}={tmp_path / name}" for option, name in files.items()]
    done = subprocess.run([sys.executable, "-m", "brainldm", "generate", *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"brainldm: error: {tmp_path}/file/work: expected to write there")
    assert "Traceback" not in done.stderr
