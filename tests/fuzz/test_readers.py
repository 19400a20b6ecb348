"""Every reader of a file that may come from elsewhere, given thousands of damaged ones: it reads, or says one clear error of ours."""

import gzip
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import keras_files
import nibabel as nib
import numpy as np
import pytest
import torch
from mutate import HANGS_S, MEMORY_MB, bombard
from networks import make_shard, requested, write_results
from scans import TINY, ellipsoid

from brainldm.core.covariates import NAMES, covariate_array
from brainldm.core.errors import ScanError
from brainldm.formats.manifest import read_manifest
from brainldm.formats.nifti import encode_volume, quantise, read_volume
from brainldm.formats.request_table import read_wanted
from brainldm.formats.scan import read_scan
from brainldm.formats.shards import commit, iterate_volumes, open_journal, read_latents
from brainldm.formats.tables import read_parquet, write_parquet
from brainldm.models import checkpoint, synthseg_files

SHARD = "000000-000003"
Case = tuple[Callable[[Path], object], dict[str, bytes]]
MANIFEST = "participant_id\tt1w\tage_years\tsex\tsplit\tsession\n" + "".join(
    f"sub-{i}\tscans/{i}.nii.gz\t{50 + i}\t{'FM'[i % 2]}\t{'test' if i % 3 == 0 else 'train'}\tses-1\n" for i in range(6)
)


def manifest(folder: Path) -> Case:
    return read_manifest, {"scans.tsv": MANIFEST.encode()}


def scan(folder: Path) -> Case:
    """Plain and compressed files; of the latter also such whose content is damaged but whose checksum is right."""
    volume = np.random.default_rng(0).integers(0, 999, (18, 20, 18)).astype(np.int16)
    image = nib.Nifti1Image(volume, np.diag([5.0, 5.0, 5.0, 1.0]))
    plain = image.to_bytes()
    mgh = nib.MGHImage(volume.astype(np.float32), image.affine).to_bytes()

    def read(path: Path) -> object:
        if path.name == "repacked.nii.gz":
            path.write_bytes(gzip.compress(path.read_bytes(), 1))
        return read_scan(path)

    return read, {"scan.nii": plain, "scan.nii.gz": gzip.compress(plain, 1), "repacked.nii.gz": plain, "scan.mgh": mgh}


def volume(folder: Path) -> Case:
    content = encode_volume(quantise(ellipsoid(TINY.grid, 0)), TINY.grid, "test")

    def read(path: Path) -> object:
        if path.name == "repacked.nii.gz":
            path.write_bytes(gzip.compress(path.read_bytes(), 1))
        return read_volume(path, TINY.grid)

    return read, {"volume.nii.gz": content, "repacked.nii.gz": gzip.decompress(content)}


def weights(folder: Path) -> Case:
    tensors = {f"layer.{i}.weight": torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) for i in range(4)}
    spec = {"kind": "age", "channels": [4, 8], "shape": [8, 8, 8], "space_to_depth": 1, "age_mean": 60.0, "age_sd": 8.0}
    checkpoint.save(folder / "model.safetensors", tensors, spec)
    return lambda path: checkpoint.load(path, "age"), {"model.safetensors": (folder / "model.safetensors").read_bytes()}


def keras(folder: Path) -> Case:
    keras_files.write(folder / "synthseg.h5", keras_files.random_layers((2, 3), labels=3))
    return synthseg_files.read, {"synthseg.h5": (folder / "synthseg.h5").read_bytes()}


def shard(folder: Path) -> Case:
    """Its manifest, its tar and its latents."""
    out = make_shard(write_results(folder / "made", [range(4)]), SHARD)
    samples = {f"{SHARD}{suffix}": out.with_suffix(suffix).read_bytes() for suffix in (".json", ".tar", ".safetensors")}

    def read(path: Path) -> object:
        for name, content in samples.items():
            if name != path.name:
                (path.parent / name).write_bytes(content)
        manifest = path.with_suffix(".json")
        return read_latents(manifest) if path.suffix == ".safetensors" else list(iterate_volumes(manifest, TINY.grid))

    return read, samples


def journal(folder: Path) -> Case:
    """What a killed job left: a damaged row is made again, so that nothing is refused."""
    with open_journal(folder / "work", "x") as made:
        for index in range(3):
            commit(made, index, b"a volume" * 20, "its voxels", np.zeros((3, 2, 2, 2), np.float16))
    samples = {path.name: path.read_bytes() for path in (folder / "work").iterdir()}

    def read(path: Path) -> object:
        for name, content in samples.items():
            (folder / "work" / name).write_bytes(path.read_bytes() if name == path.name else content)
        with open_journal(folder / "work", "x") as found:
            return found.finished

    return read, samples


def table(folder: Path) -> Case:
    write_parquet(folder / "request.parquet", requested(range(12)))
    return lambda path: covariate_array(read_parquet(path, ["index", "seed", *NAMES]), str(path)), {
        "request.parquet": (folder / "request.parquet").read_bytes()
    }


def request(folder: Path) -> Case:
    """The user's own rows of the design `table`, in each kind of file, and in other encodings."""
    rows = requested(range(12))[list(NAMES)]
    rows.to_parquet(folder / "wanted.parquet")
    text = rows.to_csv(index=False)
    samples = {"wanted.csv": text.encode(), "wanted.tsv": rows.to_csv(index=False, sep="\t").encode("utf-8-sig")}
    return read_wanted, {**samples, "utf16.csv": text.encode("utf-16"), "wanted.parquet": (folder / "wanted.parquet").read_bytes()}


READERS = [manifest, scan, volume, weights, keras, shard, journal, table, request]


def check(case: Callable[[Path], Case], folder: Path, n: int) -> None:
    read, samples = case(folder)
    for name, content in samples.items():
        (folder / name).write_bytes(content)
    read(folder / next(iter(samples)))  # the sound one
    begun = time.monotonic()
    found = bombard(read, samples, folder, n)
    seconds = time.monotonic() - begun
    assert found.faults == [], "\n".join(found.faults)
    assert found.taken + found.refused == n
    assert found.slowest_s < HANGS_S
    assert found.grown_mb < MEMORY_MB
    counts = (n, found.refused, found.taken, 0, seconds, found.slowest_s, found.grown_mb)
    print(f"\n| {case.__name__} | " + " | ".join(f"{number:,.2f}".removesuffix(".00") for number in counts) + " |")


@pytest.mark.parametrize("case", READERS)
def test_some_hundred_damaged_files(case, tmp_path: Path) -> None:
    check(case, tmp_path, 150 if case is shard else 300)


@pytest.mark.slow
@pytest.mark.parametrize("case", READERS)
def test_twenty_thousand_damaged_files(case, tmp_path: Path) -> None:
    check(case, tmp_path, 20_000)


@pytest.mark.parametrize("dims", [(32767, 32767, 32767), (2, 32767, 32767), (-5, 20, 20)])
def test_a_header_of_huge_dimensions_is_refused_before_memory_is_asked_for(dims, tmp_path: Path) -> None:
    plain = bytearray(nib.Nifti1Image(np.ones((20, 20, 20), np.int16), np.diag([5.0, 5, 5, 1])).to_bytes())
    plain[42:48] = np.array(dims, "<i2").tobytes()
    (tmp_path / "huge.nii.gz").write_bytes(gzip.compress(bytes(plain)))

    def read(path: Path) -> None:
        with pytest.raises(ScanError, match="huge"):
            read_scan(tmp_path / "huge.nii.gz")

    assert bombard(read, {"any": b"x"}, tmp_path, 1).faults == []  # in a process with limited memory


def test_an_affine_of_nan_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(8000, dtype=np.int16).reshape(20, 20, 20), np.diag([5.0, 5, 5, 1]))
    image.header["srow_x"] = np.nan
    image.header["quatern_b"] = np.nan
    (tmp_path / "nan.nii").write_bytes(image.header.binaryblock + bytes(4) + image.get_fdata().astype(np.int16).tobytes(order="F"))
    with pytest.raises(ScanError, match=r"nan\.nii"):
        read_scan(tmp_path / "nan.nii")


def test_a_tar_that_leads_out_of_its_folder_is_never_unpacked() -> None:
    """No code of ours unpacks members by name: tars are read at the offsets of their tables."""
    code = "".join(path.read_text() for path in (Path(__file__).parents[2] / "brainldm").rglob("*.py"))
    for word in ("extractall", ".extract(", "unpack_archive", "pickle.load", "allow_pickle=True", "weights_only=False", "joblib"):
        assert word not in code, word
    assert tarfile.BLOCKSIZE == 512
