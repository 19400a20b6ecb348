"""Headers of every kind for one phantom whose pose is known: the volume comes out right, or the scan is refused with its reason."""

import logging
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import headers
import nibabel as nib
import numpy as np
import pytest
from headers import EDGES_MM, SHAPE, Case, Header, phantom

from brainldm.core.errors import ScanError
from brainldm.formats.scan import Scan, files_of, fingerprint, open_image, read_scan

NEAR_MM = 0.3
NEAR_VOLUME = 0.01
AFFINE = headers.truth(np.random.default_rng(0))


def disagreement(scan: Scan, case: Case) -> str | None:
    """What is wrong with a scan of the phantom, or None."""
    right = nib.as_closest_canonical(nib.Nifti1Image(phantom(), case.affine))
    if case.is_rigid:  # another rotation may turn other axes to the right, front and top
        one, other = (np.sort(np.linalg.norm(affine[:3, :3], axis=0)) for affine in (scan.affine, case.affine))
        if np.abs(one - other).max() * max(SHAPE) > NEAR_MM:
            return f"edges {one} instead of {other}"
        same = np.array_equal(np.sort(scan.volume, axis=None), np.sort(phantom().astype(np.float32), axis=None))
        hands = np.linalg.det(scan.affine[:3, :3]) > 0
        return None if same and hands else "other voxels"
    if not np.allclose(scan.volume, right.get_fdata(), atol=1e-3):
        return "other voxels"
    corners = np.array([(i, j, k, 1) for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*np.array(right.shape) - 1, 1]
    apart_mm = np.linalg.norm(corners @ (scan.affine - right.affine).T, axis=1).max()
    larger = abs(np.linalg.det(scan.affine[:3, :3]) / np.linalg.det(right.affine[:3, :3]) - 1)
    return None if apart_mm <= NEAR_MM and larger <= NEAR_VOLUME else f"{apart_mm:.2f} mm and {larger:.3f} of the volume apart"


def search(seeds: range, folder: Path) -> Counter[str]:
    """Read as many drawn headers; how many were taken, taken with a note, refused."""
    logging.disable(logging.WARNING)
    found: Counter[str] = Counter()
    silent: list[str] = []
    refusals: list[str] = []
    for seed in seeds:
        case = headers.draw(seed)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = case.write(folder)
        try:
            scan = read_scan(path)
        except ScanError as error:
            refusals.append(str(error))
            continue
        found["taken with a note" if scan.geometry.header_notes else "taken"] += 1
        wrong = disagreement(scan, case)
        if wrong and "nobody knows" not in case.odd:
            silent.append(f"{seed}: {case.odd}: {wrong}; {scan.geometry}")
    logging.disable(logging.NOTSET)
    assert all("scan." in reason and "\n" not in reason for reason in refusals)
    found["refused"] = len(refusals)
    assert not silent, f"{len(silent)} silent disagreements:\n" + "\n".join(silent[:20])
    return found


def test_two_hundred_headers_of_one_phantom(tmp_path: Path) -> None:
    found = search(range(200), tmp_path / "one")
    assert min(found["taken"], found["taken with a note"], found["refused"]) > 20


@pytest.mark.slow
def test_five_thousand_headers_of_one_phantom(tmp_path: Path) -> None:
    print(search(range(5000), tmp_path / "one"))


def read(folder: Path, change: Callable[[Header], None], **more: object) -> Scan:
    """The phantom with a header that `change` has spoiled."""
    header = Header(**more)  # type: ignore[arg-type]
    header.set_forms(AFFINE, AFFINE)
    change(header)
    (folder / "odd.nii").write_bytes(header.block() + header.extension + headers.stored(header).tobytes(order="F"))
    return read_scan(folder / "odd.nii")


def set_to(**values: object) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        for name, value in values.items():
            setattr(header, name, value)

    return change


def pixdim_of(*lengths: float) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header.pixdim[1:4] = lengths

    return change


def in_unit(code: int, scale: float) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header.set_forms(AFFINE, AFFINE, scale)
        header.unit = code

    return change


def scaled_sform(code: int) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header.sform[:3, :3] *= 0.9
        header.sform_code = code

    return change


RIGHT: dict[str, tuple[Callable[[Header], None], str]] = {
    "sound": (set_to(), ""),
    "a fourth dimension of zero": (set_to(dim=[4, *SHAPE, 0, 1, 1, 1]), "a dimension of 0"),
    "a fifth dimension of one": (set_to(dim=[5, *SHAPE, 1, 1, 1, 1]), ""),
    "pixdim of zero": (pixdim_of(0, 0, 0), "pixdim 0 x 0 x 0 tells no lengths; those of the sform are used"),
    "pixdim that is no number": (pixdim_of(np.nan, *EDGES_MM[1:]), "tells no lengths"),
    "pixdim below zero": (pixdim_of(*(-edge for edge in EDGES_MM)), "its sign is dropped"),
    "micron": (in_unit(3, 1000), "lengths in micron are converted to mm"),
    "metre": (in_unit(1, 0.001), "lengths in metre are converted to mm"),
    "offset of zero": (set_to(offset=0.0), "vox_offset 0 cannot be; the voxels begin at 352"),
    "offset of 348": (set_to(offset=348.0), "the voxels begin at 352"),
    "offset beyond the file's end": (set_to(offset=9000.0), "the voxels begin at 352"),
    "offset that is no number": (set_to(offset=np.nan), "the voxels begin at 352"),
    "offset inside an extension": (set_to(extension=b"\1\0\0\0 \0\0\0\6\0\0\0" + b"x" * 24), "the voxels begin at 384"),
    "stale pixdim beside a sole sform": (lambda header: (set_to(qform_code=0)(header), pixdim_of(1, 1, 1)(header))[0], "stands alone"),
    "sform of a normalisation": (scaled_sform(4), "the sform is that of MNI152; the qform is used"),
}
WRONG: dict[str, tuple[Callable[[Header], None], str]] = {
    "two sizes in the scanner's space": (scaled_sform(1), "sform and qform differ by"),
    "pixdim of zero and no sform": (lambda header: (set_to(sform_code=0)(header), pixdim_of(0, 0, 0)(header))[0], "pixdim 0 x 0 x 0"),
    "a pixdim of zero and others than the sform's": (pixdim_of(0, 1, 1), "disagrees with the sform"),
    "a qform without rotation and a sform of another size": (
        lambda header: (scaled_sform(1)(header), set_to(quaternion=[2.0, 0.0, 0.0])(header))[0],
        "disagrees with the sform",
    ),
    "micron of mm": (set_to(unit=3), "lengths in micron"),
    "metre of mm": (set_to(unit=1), "lengths in metre"),
    "several volumes": (set_to(dim=[4, *SHAPE, 2, 1, 1, 1]), "3-D image"),
    "a dimension below zero": (set_to(dim=[4, *SHAPE, -1, 1, 1, 1]), "3-D image"),
    "no dimensions": (set_to(dim=[0, *SHAPE, 1, 1, 1, 1]), "0 dimensions"),
    "fewer slices than voxels": (set_to(dim=[3, *SHAPE[:2], SHAPE[2] - 4, 1, 1, 1, 1]), "does not describe this image"),
    "a first dimension of one": (set_to(dim=[4, 1, *SHAPE, 1, 1, 1]), "3-D image"),
    "a pair's header": (set_to(magic=b"ni1\0"), "voxels in a file of their own"),
    "Analyze": (set_to(magic=bytes(4)), "Analyze"),
    "zero for handedness": (set_to(sform_code=0, pixdim=[0.0, *EDGES_MM, 1, 1, 1, 1]), "left cannot be told from right"),
    "no number of handedness": (set_to(sform_code=0, pixdim=[np.nan, *EDGES_MM, 1, 1, 1, 1]), "left cannot be told from right"),
    "a field of view of ten metres": (lambda header: header.set_forms(AFFINE, AFFINE, 6.0), "field of view"),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_header_with_one_answer_is_read_and_the_decision_told(tmp_path: Path, kind: str) -> None:
    change, note = RIGHT[kind]
    scan = read(tmp_path, change)
    assert disagreement(scan, Case({}, "", AFFINE, [])) is None
    assert note in scan.geometry.header_notes
    assert bool(note) == bool(scan.geometry.header_notes)


@pytest.mark.parametrize("kind", WRONG)
def test_a_header_without_an_answer_is_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    change, reason = WRONG[kind]
    with pytest.raises(ScanError, match=r"odd\.nii") as error:
        read(tmp_path, change)
    assert reason in str(error.value)


def test_every_decision_is_told(tmp_path: Path) -> None:
    geometry = read(tmp_path, set_to(dim=[4, *SHAPE, 0, 1, 1, 1], unit=0, offset=0.0)).geometry
    assert (geometry.header_form, geometry.header_unit, geometry.header_offset) == ("sform and qform", "unknown, taken as mm", "352")
    assert geometry.header_dimensions == "16 x 19 x 14 x 0"
    assert sorted(geometry.voxel_mm.split(" x ")) == sorted(f"{edge:g}" for edge in EDGES_MM)


@pytest.mark.parametrize("named", ["scan.hdr", "scan.img"])
@pytest.mark.parametrize("offset", [0.0, 352.0])
def test_a_pair_is_one_scan_whichever_file_is_named(tmp_path: Path, named: str, offset: float) -> None:
    header = Header(magic=b"ni1\0", offset=offset)
    header.set_forms(AFFINE, AFFINE)
    (tmp_path / "scan.hdr").write_bytes(header.block())
    (tmp_path / "scan.img").write_bytes(headers.stored(header).tobytes(order="F"))
    assert disagreement(read_scan(tmp_path / named), Case({}, "", AFFINE, [])) is None
    assert [path.name for path in files_of(tmp_path / named)] == ["scan.hdr", "scan.img"]
    before = fingerprint(tmp_path / named)
    (tmp_path / "scan.img").write_bytes(bytes(phantom().size * 2))
    assert fingerprint(tmp_path / named) != before
    (tmp_path / "scan.img").unlink()
    with pytest.raises(ScanError, match=r"scan\.img: expected a scan, found no file"):
        read_scan(tmp_path / "scan.hdr")


def test_a_label_map_goes_through_the_same_decisions(tmp_path: Path) -> None:
    read(tmp_path, pixdim_of(0, 0, 0))
    image = open_image(tmp_path / "odd.nii")
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-3)
    assert np.asarray(image.dataobj).dtype.kind == "i"
