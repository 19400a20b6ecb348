import json
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import held
import numpy as np
import pytest
from safetensors.numpy import save_file

from brainldm.core.errors import DataError
from brainldm.core.grid import Grid
from brainldm.formats.nifti import SLOPE, encode_volume, quantise, voxel_sha256
from brainldm.formats.shards import (
    commit,
    discard,
    fingerprint,
    iterate_volumes,
    open_journal,
    pack,
    read_latents,
    read_manifest,
    read_member,
)

GRID = Grid(shape=(6, 7, 5), spacing_mm=5.0, center_mm=(0, -17, 6))
SHARD = "000004-000015"
ROWS = range(4, 16)
IDENTITY = fingerprint(section={"steps": 50}, weights={"diffusion": "0" * 64}, request=[1, 2])

MADE_BY = {"section": {"section": {"steps": 50}}, "weights_sha256": {"diffusion": "0"}, "precision": "32", "device": "CPU", "versions": {}}


def volume(index: int) -> np.ndarray:
    return np.random.default_rng(index).random(GRID.shape, np.float32)


def latent(index: int) -> np.ndarray:
    return np.random.default_rng([index, 1]).random((3, 2, 2, 1)).astype(np.float16)


def finish(journal, index: int) -> None:
    counts = quantise(volume(index))
    commit(journal, index, encode_volume(counts, GRID, f"SYNTHETIC row {index}"), voxel_sha256(counts), latent(index))


def work(folder: Path, rows: list[int] | range = ROWS, identity: str = IDENTITY) -> frozenset[int]:
    """Finish the rows that are not; returns those that were."""
    with open_journal(folder / "work" / SHARD, identity) as journal:
        for index in rows:
            if index not in journal.finished:
                finish(journal, index)
    return journal.finished


def packed(folder: Path, identity: str = IDENTITY) -> Path:
    manifest = folder / f"{SHARD}.json"
    with open_journal(folder / "work" / SHARD, identity) as journal:
        pack(journal, SHARD, manifest, MADE_BY)
        discard(journal)
    return manifest


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    work(folder)
    return packed(folder)


def same(a: Path, b: Path) -> bool:
    return all(a.with_suffix(suffix).read_bytes() == b.with_suffix(suffix).read_bytes() for suffix in (".tar", ".json", ".safetensors"))


def test_volumes_come_back_in_order(undisturbed: Path) -> None:
    found = list(iterate_volumes(undisturbed, GRID))
    assert [row["index"] for row, _ in found] == list(ROWS)
    for row, image in found:
        assert np.abs(image - volume(row["index"])).max() <= SLOPE / 2
        assert row["voxel_sha256"] == voxel_sha256(quantise(image))
    assert sorted(path.name for path in undisturbed.parent.iterdir()) == [f"{SHARD}{end}" for end in (".json", ".safetensors", ".tar")] + [
        "work"
    ]
    assert [path.name for path in (undisturbed.parent / "work").iterdir()] == [f"{SHARD}.lock"]


def test_the_tar_is_plain_and_deterministic(undisturbed: Path, tmp_path: Path) -> None:
    with tarfile.open(undisturbed.with_suffix(".tar"), "r:") as tar:
        members = tar.getmembers()
        contents = [tar.extractfile(member).read() for member in members]
    rows = read_manifest(undisturbed)["rows"]
    assert [member.name for member in members] == [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert rows[0]["path"] == "sub-000005/anat/sub-000005_T1w.nii.gz"
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert [member.offset_data for member in members] == [row["tar_offset"] for row in rows]
    assert contents == [read_member(undisturbed, row) for row in rows]
    listed = subprocess.run(["tar", "-tf", undisturbed.with_suffix(".tar")], check=True, capture_output=True, text=True)
    assert (listed.stdout.split(), listed.stderr) == ([row["path"] for row in rows], "")
    work(tmp_path, rows=ROWS[::-1])
    assert same(packed(tmp_path), undisturbed)


def test_rows_may_be_committed_from_threads(undisturbed: Path, tmp_path: Path) -> None:
    with open_journal(tmp_path / "work" / SHARD, IDENTITY) as journal, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda index: finish(journal, index), ROWS))
    assert same(packed(tmp_path), undisturbed)


WORKER = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import held
import test_shards
held.hold_before_rename(Path(sys.argv[3]) / "hold", sys.argv[4])
test_shards.work(Path(sys.argv[3]))
"""


def test_killed_three_times_and_restarted_it_makes_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work" / SHARD
    done: set[int] = set()
    for target in (2, 6, 9):
        folders = [str(Path(__file__).parent), str(Path(held.__file__).parent), str(tmp_path)]
        worker = subprocess.Popen([sys.executable, "-c", WORKER, *folders, f"{ROWS[target]:06d}.row"])
        while len(list(folder.glob("[0-9]*.row"))) < target:
            assert worker.poll() is None, "the worker ended before it was killed"
            time.sleep(0.005)
        worker.kill()
        worker.wait()
        with open_journal(folder, IDENTITY) as journal:
            assert done <= journal.finished, "a finished row was lost"
            assert target - 1 <= len(journal.finished) < len(ROWS)
            done = set(journal.finished)
    assert work(tmp_path) == done
    assert same(packed(tmp_path), undisturbed)


def test_a_torn_a_foreign_and_a_half_journalled_row_are_redone(undisturbed: Path, tmp_path: Path) -> None:
    work(tmp_path, rows=range(4, 10))
    folder = tmp_path / "work" / SHARD
    (folder / "000004.row").write_bytes((folder / "000004.row").read_bytes()[:-10])
    (folder / "000005.row").write_bytes((folder / "000006.row").read_bytes())
    (folder / "000007.row").unlink()
    (folder / "000012.row").write_bytes(b"never journalled")
    (folder / ".tmp77.000011.row").write_bytes(b"half")
    text = (folder / "journal.jsonl").read_text()
    (folder / "journal.jsonl").write_text(text[:-20])  # the line of row 9 is torn
    assert work(tmp_path) == {6, 8}
    assert sorted(path.name for path in folder.iterdir()) == sorted(["journal.jsonl", *(f"{index:06d}.row" for index in ROWS)])
    assert same(packed(tmp_path), undisturbed)


def test_work_of_other_weights_is_redone(tmp_path: Path) -> None:
    other = fingerprint(section={"steps": 50}, weights={"diffusion": "1" * 64}, request=[1, 2])
    work(tmp_path)
    assert work(tmp_path, rows=[], identity=other) == frozenset()
    assert not list((tmp_path / "work" / SHARD).glob("*.row"))


def test_a_second_worker_is_refused(tmp_path: Path) -> None:
    work(tmp_path, rows=[4])
    with open_journal(tmp_path / "work" / SHARD, IDENTITY) as journal:
        with pytest.raises(DataError, match=rf"{SHARD}\.lock: expected to be this shard's only worker"):
            work(tmp_path)
        assert journal.finished == {4}
    assert work(tmp_path, rows=[]) == {4}


def test_a_shard_with_a_row_missing_is_not_packed(tmp_path: Path) -> None:
    work(tmp_path, rows=range(4, 14))
    with pytest.raises(DataError, match=rf"every row of shard {SHARD}, found none for \[14, 15\]"):
        packed(tmp_path)
    assert not list(tmp_path.glob("*.tar"))


def copied(manifest: Path, folder: Path) -> Path:
    for suffix in (".json", ".tar"):
        (folder / manifest.name).with_suffix(suffix).write_bytes(manifest.with_suffix(suffix).read_bytes())
    return folder / manifest.name


def test_a_flipped_byte_is_found_and_named(undisturbed: Path, tmp_path: Path) -> None:
    manifest = copied(undisturbed, tmp_path)
    content = bytearray(manifest.with_suffix(".tar").read_bytes())
    content[read_manifest(manifest)["rows"][3]["tar_offset"] + 100] ^= 1
    manifest.with_suffix(".tar").write_bytes(content)
    volumes = iterate_volumes(manifest, GRID)
    assert [next(volumes)[0]["index"] for _ in range(3)] == [4, 5, 6]
    with pytest.raises(DataError, match=rf"{SHARD}\.tar: row 7: expected \d+ bytes with SHA-256"):
        next(volumes)


def test_a_truncated_and_a_missing_tar_are_named(undisturbed: Path, tmp_path: Path) -> None:
    manifest = copied(undisturbed, tmp_path)
    last = read_manifest(manifest)["rows"][-1]
    with manifest.with_suffix(".tar").open("r+b") as handle:
        handle.truncate(last["tar_offset"] + 10)
    with pytest.raises(DataError, match=rf"{SHARD}\.tar: row 15: .* outside of the tar"):
        read_member(manifest, last)
    manifest.with_suffix(".tar").unlink()
    with pytest.raises(DataError, match=rf"{SHARD}\.tar: No such file"):
        read_member(manifest, last)


@pytest.mark.parametrize("fault", ["rows missing", "rows twice", "no provenance", "not a manifest", "a row without its hash"])
def test_a_manifest_that_is_none_is_refused_by_name(undisturbed: Path, tmp_path: Path, fault: str) -> None:
    manifest = json.loads(undisturbed.read_text())
    rows = manifest["rows"]
    damaged = {
        "rows missing": {**manifest, "rows": rows[:-1]},
        "rows twice": {**manifest, "rows": [*rows, rows[-1]]},
        "no provenance": {"shard": SHARD, "rows": rows},
        "not a manifest": [1, 2],
        "a row without its hash": {**manifest, "rows": [{"index": index} for index in ROWS]},
    }
    (tmp_path / "x.json").write_text(json.dumps(damaged[fault]))
    with pytest.raises(DataError, match=r"x\.json: expected"):
        read_manifest(tmp_path / "x.json")


def test_latents_are_those_of_the_rows_and_another_shards_are_refused(undisturbed: Path, tmp_path: Path) -> None:
    assert np.array_equal(read_latents(undisturbed), np.stack([latent(index) for index in ROWS]))
    manifest = copied(undisturbed, tmp_path)
    with pytest.raises(DataError, match=rf"{SHARD}\.safetensors: expected the latents of .*, found none that can be read"):
        read_latents(manifest)
    others = np.stack([latent(index + (index == 7)) for index in ROWS])
    save_file({"latents": others}, manifest.with_suffix(".safetensors"))
    with pytest.raises(DataError, match=rf"{SHARD}\.safetensors: expected the 12 latents of .*, with other hashes of the rows \[7\]"):
        read_latents(manifest)
