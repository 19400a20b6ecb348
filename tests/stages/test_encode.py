"""The cache of latents holds the autoencoder's moments; a run that was killed goes on; what changed is encoded again."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scans import TINY, write_scans, write_section

from brainldm.core.errors import DataError
from brainldm.formats.nifti import encode_volume, quantise, write_bytes
from brainldm.formats.volumes import VolumeSet
from brainldm.models import autoencoder, checkpoint, latents
from brainldm.stages.encode import main


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Section, table of seven scans and an autoencoder that has learned nothing; batches of 2 and files of 3."""
    torch.manual_seed(0)
    network = autoencoder.build(TINY.train_autoencoder, TINY.grid)
    checkpoint.save(tmp_path / "model.safetensors", network.state_dict(), network.spec)
    section = write_section(tmp_path / "section.json", "encode", batch_size=2, scans_per_file=3)
    return section, write_scans(tmp_path / "scans", TINY.grid, 7), tmp_path / "model.safetensors"


def times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted((out.parent / latents.FOLDER).glob("*"))}


def test_the_cache_holds_the_moments_of_every_scan(inputs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out/latents.json"
    main(*inputs, out, "cpu")
    assert list(times(out)) == ["00000.safetensors", "00001.safetensors", "00002.safetensors"]
    scans, network = VolumeSet(inputs[1], TINY.grid), autoencoder.load(inputs[2])
    found = latents.load(out, scans.table["participant_id"].tolist()).batch(range(7))
    for values, wanted in zip(found, network.encode(torch.from_numpy(scans.batch(range(7)))), strict=True):
        assert torch.allclose(values, wanted, rtol=1e-3, atol=1e-5)  # float16


def test_a_killed_run_goes_on_and_a_changed_scan_is_encoded_again(
    inputs: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write_file = tmp_path / "out/latents.json", latents.write_file

    def killed(path: Path, *values: object) -> None:
        if path.name == "00002.safetensors":
            raise KeyboardInterrupt
        write_file(path, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(latents, "write_file", killed)
    with pytest.raises(KeyboardInterrupt):
        main(*inputs, out, "cpu")
    monkeypatch.undo()
    assert not out.exists()
    first = times(out)
    assert len(first) == 2
    main(*inputs, out, "cpu")
    whole = times(out)
    assert {name: whole[name] for name in first} == first
    manifest = out.read_text()
    table = pd.read_csv(inputs[1], sep="\t")
    scan = inputs[1].parent / table["volume"][4]
    write_bytes(scan, encode_volume(quantise(np.random.default_rng(9).random(TINY.grid.shape)), TINY.grid, "another"))
    main(*inputs, out, "cpu")
    assert [name for name, time in times(out).items() if time != whole[name]] == ["00001.safetensors"]
    assert out.read_text() != manifest


def test_a_damaged_file_is_written_again(inputs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out/latents.json"
    main(*inputs, out, "cpu")
    file, names = latents.file_of(out, 0), VolumeSet(inputs[1], TINY.grid).table["participant_id"].tolist()
    content = file.read_bytes()
    file.write_bytes(content[:300])
    with pytest.raises(DataError, match="checksum"):
        latents.load(out, names)
    main(*inputs, out, "cpu")
    assert file.read_bytes() == content
