"""`brainldm example`: BIDS that `brainldm manifest` takes, of many orientations and voxel sizes; the same bytes again."""

import logging

import nibabel as nib
import pytest

from brainldm.commands import manifest
from brainldm.commands.example import main
from brainldm.core.errors import OutputError
from brainldm.core.files import sha256
from brainldm.formats.manifest import read_manifest


def test_a_dataset_is_taken_by_manifest_and_comes_out_the_same_again(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for name in ("a", "b"):
        main(tmp_path / name, n=4)
    manifest.bids(tmp_path / "a", tmp_path / "scans.tsv")
    entries = read_manifest(tmp_path / "scans.tsv")
    assert len({entry.name for entry in entries}) == 4
    assert {entry.session for entry in entries} == {"", "ses-baseline"}
    images = [nib.load(entry.t1w) for entry in entries]
    assert len({nib.aff2axcodes(image.affine) for image in images}) > 1
    assert len({image.header.get_zooms() for image in images}) == 4
    hashes = [{path.name: sha256(path) for path in (tmp_path / name).rglob("*.*") if path.is_file()} for name in ("a", "b")]
    assert hashes[0] == hashes[1]
    assert "brainldm manifest bids" in caplog.text


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"the folder holds notes\.txt"):
        main(tmp_path)
