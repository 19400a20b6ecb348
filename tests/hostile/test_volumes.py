"""Volumes and latents made to fill a memory: what a header promises is held against what is unpacked, and against a ceiling, before."""

import gzip
import json
import os
import struct
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import plain_release
import pytest
from watched import watched

from brainldm.commands import view
from brainldm.formats.nifti import decode_synthetic, decode_volume, inflate, promised_bytes
from brainldm.formats.released import open_release, read_latent, records
from brainldm.formats.released_values import MOST_VOLUME
from brainldm.formats.scan import read_scan

SOON_S = 10.0
GRID = plain_release.GRID
AFFINE = np.diag([2.0, 2, 2, 1])


def header(shape: tuple[int, ...], kind: type = np.int16, **fields: object) -> bytes:
    made = nib.Nifti1Header()
    made.set_data_dtype(kind)
    made.set_data_shape(shape)
    made.set_sform(AFFINE, 1)
    made.set_qform(AFFINE, 1)
    made.set_slope_inter(1 / 4096, 0)
    made["magic"], made["vox_offset"] = b"n+1", 352
    for name, value in fields.items():
        made[name] = value
    return made.binaryblock + bytes(4)


def packed(head: bytes, n_zeros: int, block: int = 1 << 24) -> bytes:
    """A .nii.gz of a header and zeros: many members, so that 7 GB take a moment to make."""
    whole, rest = divmod(n_zeros, block)
    return gzip.compress(head, 1) + gzip.compress(bytes(block), 1) * whole + gzip.compress(bytes(rest), 1)


BOMBS = {
    "7 GB behind a small header": packed(header((60, 70, 60)), 7 << 30),
    "7 GB as the header says": packed(header((1500, 1500, 1600)), 7 << 30),
    "a header of 2^45 voxels": packed(header((32767, 32767, 32767)), 10_000),
    "fewer voxels than promised": packed(header((60, 70, 60)), 1000),
    "seven dimensions": packed(header((100, 100, 100, 100, 100, 2, 2)), 10_000),
    "no voxels": packed(header((60, 70, 60), dim=[3, 0, 0, 0, 0, 0, 0, 0]), 2 * 60 * 70 * 60),
    "sides below zero": packed(header((60, 70, 60), dim=[3, -5, 70, 60, 1, 1, 1, 1]), 2 * 60 * 70 * 60),
    "an offset of infinity": packed(header((60, 70, 60), vox_offset=np.inf), 2 * 60 * 70 * 60),
    "an offset of 10^30": packed(header((60, 70, 60), vox_offset=1e30), 2 * 60 * 70 * 60),
    "an affine of nan": packed(header((60, 70, 60), srow_x=[np.nan] * 4), 2 * 60 * 70 * 60),
    "complex numbers": packed(header((60, 70, 60), np.complex128), 16 * 60 * 70 * 60),
    "no gzip": b"hello" * 100,
    "nothing": b"",
    "half a gzip": packed(header((60, 70, 60)), 2 * 60 * 70 * 60)[:300],
}
OF_RELEASES = {
    "floats": packed(header((60, 70, 60), np.float32), 4 * 60 * 70 * 60),
    "four dimensions": packed(header((60, 70, 60, 1)), 2 * 60 * 70 * 60),
    "a slope of 0": packed(header((60, 70, 60), scl_slope=0), 2 * 60 * 70 * 60),
    "a slope of nan": packed(header((60, 70, 60), scl_slope=np.nan), 2 * 60 * 70 * 60),
    "a slope of infinity": packed(header((60, 70, 60), scl_slope=np.inf), 2 * 60 * 70 * 60),
    "bytes behind the voxels": packed(header((60, 70, 60)), 2 * 60 * 70 * 60 + 1),
    "bytes before the voxels": packed(header((60, 70, 60), vox_offset=360), 2 * 60 * 70 * 60 + 8),
}


@pytest.mark.parametrize("name", [*BOMBS, *OF_RELEASES])
def test_a_hostile_volume_of_a_release_is_one_error(name: str) -> None:
    content = {**BOMBS, **OF_RELEASES}[name]
    outcome = watched(partial(decode_synthetic, content, "release/a.nii.gz", MOST_VOLUME))
    assert outcome.fault == ""
    assert "release/a.nii.gz" in outcome.error
    assert outcome.cpu_seconds < SOON_S


@pytest.mark.parametrize("name", BOMBS)
def test_a_hostile_volume_is_not_viewed(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(BOMBS[name])
    for read in (
        partial(view.main, str(tmp_path / "a.nii.gz"), out=tmp_path / "a.png"),
        partial(decode_volume, BOMBS[name], GRID, "a.nii.gz"),
    ):
        outcome = watched(read)
        assert outcome.fault == ""
        assert "a.nii.gz" in outcome.error
        assert outcome.cpu_seconds < SOON_S
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("name", ["/dev/zero", "pipe.nii.gz", "folder.nii.gz"])
def test_what_is_no_file_is_not_viewed(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.startswith("pipe"):
        os.mkfifo(path)
    elif name.startswith("folder"):
        path.mkdir()
    outcome = watched(partial(view.main, str(path), out=tmp_path / "a.png"))
    assert outcome.fault == ""
    assert str(path) in outcome.error


@pytest.mark.slow
def test_the_largest_volume_that_is_viewed_fits(tmp_path: Path) -> None:
    """As many bytes as are read, of a type that grows when it is scaled."""
    shape = (400, 400, 400)
    head = header(shape)
    content = gzip.compress(head + np.random.default_rng(0).integers(0, 99, 64_000, np.int16).tobytes() * 1000, 1)
    (tmp_path / "a.nii.gz").write_bytes(content)
    outcome = watched(partial(view.main, str(tmp_path / "a.nii.gz"), out=tmp_path / "a.png"))
    assert (outcome.error, outcome.fault) == ("", "")


def test_promises_are_those_that_nibabel_reads() -> None:
    for kind, shape in ((np.int16, (4, 5, 6)), (np.float64, (4, 5, 6)), (np.uint8, (3, 4, 5, 2))):
        for image in (nib.Nifti1Image, nib.Nifti2Image):
            content = image(np.zeros(shape, kind), AFFINE).to_bytes()
            assert promised_bytes(content) == len(content)
            assert inflate(gzip.compress(content)) == content
    mgh = nib.MGHImage(np.zeros((40, 50, 60), np.float32), AFFINE).to_bytes()
    assert promised_bytes(mgh) >= len(mgh)
    assert inflate(gzip.compress(mgh)) == mgh


LATENTS = {
    "a header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header of 1 GB": struct.pack("<Q", 1 << 30) + b"{}",
    "a header of nothing": struct.pack("<Q", 0),
    "no header": b"",
    "lists in lists": struct.pack("<Q", 900_000) + b"[" * 900_000,
}
TENSORS = {
    "an offset of 2^70": {"dtype": "F16", "shape": [4, 3, 2, 2, 2], "data_offsets": [2**70, 2**70 + 192]},
    "an offset below zero": {"dtype": "F16", "shape": [4, 3, 2, 2, 2], "data_offsets": [-192, 0]},
    "an offset behind the end": {"dtype": "F16", "shape": [4, 3, 2, 2, 2], "data_offsets": [5000, 5192]},
    "a shape of 2^60": {"dtype": "F16", "shape": [4, 2**20, 2**20, 2**20, 1], "data_offsets": [0, 192]},
    "a shape below zero": {"dtype": "F16", "shape": [4, -3, -2, 2, 2], "data_offsets": [0, 192]},
    "a shape of floats": {"dtype": "F16", "shape": [4, 3.5, 2, 2, 2], "data_offsets": [0, 192]},
    "a shape of texts": {"dtype": "F16", "shape": "43222", "data_offsets": [0, 192]},
    "no shape": {"dtype": "F16", "data_offsets": [0, 192]},
    "three dimensions": {"dtype": "F16", "shape": [4, 3, 2], "data_offsets": [0, 48]},
    "other rows": {"dtype": "F16", "shape": [5, 3, 2, 2, 2], "data_offsets": [0, 240]},
    "other numbers": {"dtype": "F64", "shape": [4, 3, 2, 2, 2], "data_offsets": [0, 768]},
    "other latents": {"dtype": "F16", "shape": [4, 3, 2, 2, 2], "data_offsets": [2, 194]},
    "null": None,
}


@pytest.mark.parametrize("name", [*LATENTS, *TENSORS])
def test_hostile_latents_are_one_error(name: str, tmp_path: Path) -> None:
    folder = plain_release.make(tmp_path / "release", "latents")
    release = open_release(str(folder))
    assert [read_latent(release, row).shape for row in records(release.table)] == [(3, 2, 2, 2)] * plain_release.N
    file = folder / f"latents/{plain_release.SHARD}.safetensors"
    head = json.dumps({"latents": TENSORS.get(name)}).encode()
    file.write_bytes(LATENTS.get(name) if name in LATENTS else len(head).to_bytes(8, "little") + head + bytes(194))
    plain_release.vouch(folder)
    release = open_release(str(folder))
    outcome = watched(partial(read_latent, release, next(records(release.table))))
    assert outcome.fault == ""
    assert file.name in outcome.error
    assert outcome.error.isprintable()
    assert outcome.cpu_seconds < SOON_S


def test_a_scan_of_a_large_promise_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(BOMBS["7 GB as the header says"])
    outcome = watched(partial(read_scan, tmp_path / "a.nii.gz"))
    assert "promises 7200000352 bytes" in outcome.error
    assert outcome.cpu_seconds < 1
