"""The reader of releases, given thousands of damaged ones: it reads, or says one clear error of ours that names the file."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import plain_release
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_server import Asked, serve, sound
from mutate import HANGS_S, MEMORY_MB, bombard, mutated

from brainldm.core.errors import BrainLDMError
from brainldm.formats import transfers
from brainldm.formats.nifti import decode_synthetic
from brainldm.formats.places import read_part, read_text
from brainldm.formats.release_check import check
from brainldm.formats.released import open_release, read_latent, read_volume_bytes, records
from brainldm.formats.released_values import MOST_VOLUME

TABLE = "covariates.parquet"
VALUES = [None, -1, 0, 2**62, -(2**63), 1e300, float("nan"), float("inf"), "", "x" * 9000, "\x1b[2J", "a\nb", "[red]", "\0", "../..",
          b"\xff", True, [1], {"a": 1}, "sub-000001", "000000-000003", "0" * 64, 0.5, "\u202e", "\U000e0001"]  # fmt: skip


def read_all(place: str) -> None:
    """Whatever a release holds, read as the Dataset and `get` do."""
    release = open_release(place)
    for row in records(release.table):
        if release.packaging == "latents":
            read_latent(release, row)
        else:
            decode_synthetic(read_volume_bytes(release, row), f"{place}/{row['path']}", MOST_VOLUME)


def case(folder: Path, packaging: str) -> tuple[Callable[[Path], object], dict[str, bytes]]:
    """A mutated file is put where it belongs and vouched for, so that no hash keeps a reader from it."""
    made = plain_release.make(folder / "made", packaging)
    plain_release.write_table(made, pq.read_table(made / TABLE), packaging, write_page_checksum=False, compression="none")
    plain_release.vouch(made)
    inner = {
        "files": "sub-000001/anat/sub-000001_T1w.nii.gz",
        "tars": "shards/000000-000003.tar",
        "latents": "latents/000000-000003.safetensors",
    }
    files = {Path(name).name: name for name in (TABLE, "checksums.sha256", inner[packaging])}
    samples = {name: (made / path).read_bytes() for name, path in files.items()}

    def read(path: Path) -> None:
        for name, file in files.items():
            (made / file).write_bytes(samples[name] if name != path.name else path.read_bytes())
        if path.name != "checksums.sha256":
            text = samples["checksums.sha256"].decode()
            old = hashlib.sha256(samples[path.name]).hexdigest()
            (made / "checksums.sha256").write_text(text.replace(old, hashlib.sha256(path.read_bytes()).hexdigest()))
        if path.name.endswith(".nii.gz"):
            decode_synthetic(path.read_bytes(), str(path), MOST_VOLUME)
        list(check(made))
        try:
            read_all(str(made))
        except BrainLDMError as error:
            if path.name == "checksums.sha256" and "checksums" not in str(error):
                raise BrainLDMError(f"checksums: {error}") from None  # a hash was changed: the file it belongs to is named
            raise

    return read, samples


@pytest.mark.parametrize("packaging", ["files", "tars", "latents"])
@pytest.mark.parametrize("n", [60, pytest.param(7000, marks=pytest.mark.slow)])
def test_damaged_releases(packaging: str, n: int, tmp_path: Path) -> None:
    read, samples = case(tmp_path, packaging)
    found = bombard(read, samples, tmp_path, n)
    assert found.faults == [], "\n".join(found.faults)
    assert found.taken + found.refused == n
    assert found.refused > n / 4
    assert found.slowest_s < HANGS_S
    assert found.grown_mb < MEMORY_MB


@pytest.mark.parametrize("n", [60, pytest.param(5000, marks=pytest.mark.slow)])
def test_tables_of_hostile_values(n: int, tmp_path: Path) -> None:
    """Cells and whole columns of any type; the errors name the table, print, and are of one line."""
    folder = plain_release.make(tmp_path / "release")
    rows = pq.read_table(folder / TABLE)
    refused = []
    for number in range(n):
        draw = random.Random(number)
        column = draw.choice(rows.column_names)
        place = rows.schema.get_field_index(column)
        value = draw.choice(VALUES)
        values = [value, *rows.column(column).to_pylist()[1:]] if draw.random() < 0.5 else [value] * len(rows)
        try:
            array = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            array = pa.array([value] * len(rows))
        plain_release.write_table(folder, rows.set_column(place, column, array))
        plain_release.vouch(folder)
        try:
            read_all(str(folder))
        except BrainLDMError as error:
            refused.append(str(error))
    assert len(refused) > n / 2
    assert [error for error in refused if not error.isprintable()] == []
    assert [error for error in refused if "covariates.parquet" not in error and "sub-00000" not in error] == []


@pytest.mark.parametrize("n", [80, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_answers(n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server says, mutated, for a whole file and for a part of one."""
    monkeypatch.setattr(transfers, "PATIENCE_S", 0.5)
    monkeypatch.setattr(transfers.time, "sleep", lambda seconds: None)
    (tmp_path / "file.txt").write_bytes(bytes(range(256)) * 4)

    def script(asked: Asked):
        yield mutated(b"".join(sound(asked)), random.Random(numbers[-1]))

    numbers = [0]
    refused = []
    with serve(tmp_path, "file.txt", script) as server:
        for number in range(n):
            numbers.append(number)
            try:
                content = read_text(server.url, "file.txt", None, 5000) if number % 2 else read_part(server.url, "file.txt", 10, 100)
                assert len(content) <= 5000
            except BrainLDMError as error:
                refused.append(str(error))
    assert 0 < len(refused) < n
    assert [error for error in refused if not error.isprintable() or f"{server.url}/file.txt" not in error] == []
