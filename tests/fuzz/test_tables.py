"""Thousands of tables as people write them, through every reader of such tables: the meaning comes out, or the line is named."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bids_files import touch
from table_maker import EITHER, FAULT, SCANS, Made, make, write

from brainldm.core.errors import BrainLDMError
from brainldm.formats.bids_images import Choice
from brainldm.formats.foreign import volumes_of
from brainldm.formats.manifest import read_manifest
from brainldm.formats.manifest_draft import Draft, Rules, settle
from brainldm.formats.raw_bids import draft_of_bids
from brainldm.formats.raw_table import Mapping, draft_of_table
from brainldm.formats.request_table import read_wanted

Values = dict[int, dict[str, Any]]  # by line
Read = Callable[[Path], tuple[Values, set[int]]]  # what lines mean, and lines refused
SKIP = Rules(0.0, 0, skip_incomplete=True)
COLUMNS = ("participant_id", "t1w", "age_years", "sex", "session", "ventricles_ml", "brain_ml")
NAMED = {"age": "age_years"}


def _lines(text: str) -> set[int]:
    return {int(number) for found in re.findall(r"lines? (\d+)(?: and (\d+))?", text) for number in found if number}


def _settled(draft: Draft, source: Path) -> tuple[Values, set[int]]:
    table, left_out, counts, _ = settle(draft, SKIP, source)
    assert counts["rows"]["found"] == counts["rows"]["written"] + counts["rows"]["left_out"] == len(draft.table)
    values = {}
    for row in table.itertuples():
        (line,) = _lines(row.where)
        values[line] = {name: getattr(row, name) for name in COLUMNS}
    return values, _lines(" ".join(left_out))


def mapped(path: Path) -> tuple[Values, set[int]]:
    names = {"participant_id": "participant_id", "t1w": "t1w", "age_years": "age", "sex": "sex", "session": "session"}
    mapping = Mapping.model_validate(names | {"ventricles_ml": "ventricles_ml", "brain_ml": "brain_ml"})
    return _settled(draft_of_table(path, mapping, path.parent), path)


def participants(path: Path) -> tuple[Values, set[int]]:
    """A BIDS dataset whose participants.tsv is the table."""
    for suffix in (".tsv", ".json"):
        (path.parent / f"participants{suffix}").unlink(missing_ok=True)
        if path.with_suffix(suffix).exists():
            path.with_suffix(suffix).rename(path.parent / f"participants{suffix}")
    values, refused = _settled(draft_of_bids(path.parent, False, Choice()), path.parent)
    return values, refused


def manifest(path: Path) -> tuple[Values, set[int]]:
    entries = read_manifest(path)
    return {entry.participant_id: entry._asdict() | {"session": entry.session or None, "t1w": str(entry.t1w)} for entry in entries}, set()


def requested(path: Path) -> tuple[Values, set[int]]:
    names = ("sex", "age_years", "ventricles_ml", "brain_ml")
    return {place: dict(zip(names, row, strict=True)) | {"sex": "FM"[int(row[0])]} for place, row in enumerate(read_wanted(path))}, set()


def scored(path: Path) -> tuple[Values, set[int]]:
    rows = volumes_of(path.parent / "scans", path)
    return {row["path"].name: row.drop(["where", "name"]).to_dict() | {"path": row["path"].name} for _, row in rows.iterrows()}, set()


READERS: dict[Read, list[str]] = {
    mapped: ["participant_id", "t1w", "age", "sex", "session", "ventricles_ml", "brain_ml"],
    participants: ["participant_id", "age", "sex"],
    manifest: ["participant_id", "t1w", "age_years", "sex", "split", "session"],
    requested: ["age_years", "sex", "ventricles_ml", "brain_ml"],
    scored: ["path", "age", "sex"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(SCANS):
        for place in (name, f"scans/{name}", f"sub-{index:03d}/anat/sub-{index:03d}_T1w.nii.gz"):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).write_bytes(f"scan {name}".encode())
    return tmp_path


def disagreement(made: Made, read: Read, path: Path) -> str | None:
    """What is wrong with how a table was read, or None."""
    truth = made.truth
    try:
        values, refused = read(path)
    except BrainLDMError as error:
        bad = {line for line, meaning in (truth or {}).items() if meaning == FAULT}
        may = {line for line, meaning in (truth or {}).items() if meaning == EITHER}
        if truth is None:
            return None
        named = _lines(str(error))
        if not bad <= named:
            return f"refused, without lines {sorted(bad - named)}: {error}"
        return f"refused for sound lines {sorted(named - bad - may) or 'none'}: {error}" if not named or named - bad - may else None
    if truth is None:
        return f"read, though nothing of it can be trusted: {values}"
    for place, (line, meaning) in enumerate(truth.items()):
        key = {requested: place}.get(read, line)
        if read in (manifest, scored) and meaning not in (FAULT, EITHER):
            key = meaning["participant_id" if read is manifest else "path"]
        if meaning == FAULT and (key in values or line not in refused):
            return f"line {line} is read, or lost: {values.get(key)}"
        if meaning in (EITHER, FAULT):
            continue
        if key not in values:
            return f"line {line} is lost, which means {meaning}; refused: {refused}"
        if wrong := [
            name for name, meant in meaning.items() if meant is not ... and not same(values[key].get(NAMED.get(name, name)), meant)
        ]:
            return f"line {line}: {wrong[0]} {values[key].get(NAMED.get(wrong[0], wrong[0]))!r}, expected {meaning[wrong[0]]!r}"
    known = sum(meaning != FAULT for meaning in truth.values())
    return None if len(values) <= known else f"{len(values)} rows of {known} lines"


def same(found: Any, meant: Any) -> bool:
    if meant is None:
        return found is None or found != found
    if isinstance(meant, str):
        return str(found).endswith(meant)
    return found is not None and abs(float(found) - meant) < 1e-6 * max(meant, 1)


def search(read: Read, folder: Path, seeds: range) -> Counter[str]:
    """Read a table of each seed; AssertionError with the table on the first that is read wrong."""
    classes: Counter[str] = Counter()
    for seed in seeds:
        made = make(seed, READERS[read], is_tsv=read is participants, strict_sex=read is manifest, whole=read is requested)
        path = write(folder, made)
        if wrong := disagreement(made, read, path):
            raise AssertionError(f"seed {seed}: {wrong}\n{made.content!r}\n{made.sidecar}\n{made.truth}")
        classes.update([*made.classes, "refused" if made.truth is None else "read"])
    return classes


def search_sessions(folder: Path, seeds: range) -> Counter[str]:
    """Tables of sessions of one person, a scan at each: its age is the session's own, or the scan is left out."""
    touch(folder, *(f"sub-1/ses-{index:02d}/anat/sub-1_ses-{index:02d}_T1w.nii.gz" for index in range(8)))
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\nsub-1\t111\tF\n")
    classes: Counter[str] = Counter()
    for seed in seeds:
        made = make(seed, ["session_id", "age"], is_tsv=True)
        write(folder, made).rename(folder / "sub-1/sub-1_sessions.tsv")
        (folder / "sub-1/sub-1_sessions.json").unlink(missing_ok=True)
        if made.sidecar is not None:
            (folder / "table.json").rename(folder / "sub-1/sub-1_sessions.json")
        meant = {meaning["session_id"]: meaning["age"] for meaning in (made.truth or {}).values() if isinstance(meaning, dict)}
        unclear = sum(meaning == EITHER for meaning in (made.truth or {}).values())
        try:
            table = settle(draft_of_bids(folder, True, Choice()), SKIP, folder).table
            found = {row.session: float(row.age_years) for row in table.itertuples()}
        except BrainLDMError:
            found = {}
        told = f"seed {seed}: {found}, expected {meant}\n{made.content!r}\n{made.sidecar}"
        assert all(abs(found.get(session, -1) - age) < 1e-6 * age for session, age in meant.items()), told
        assert len(found) <= len(meant) + unclear, told
        classes.update([*made.classes, "refused" if made.truth is None else "read"])
    return classes


def test_ages_at_sessions_are_their_own(folder: Path) -> None:
    assert search_sessions(folder / "of_sessions", range(40))["read"] > 10


@pytest.mark.slow
def test_thousands_of_ages_at_sessions_are_their_own(folder: Path) -> None:
    print(f"\nsessions: {dict(search_sessions(folder / 'of_sessions', range(1000, 2000)).most_common())}")


@pytest.mark.parametrize("read", READERS)
def test_tables_mean_what_their_writer_meant(read: Read, folder: Path) -> None:
    assert search(read, folder, range(40))["read"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
def test_thousands_of_tables_mean_what_their_writer_meant(read: Read, folder: Path) -> None:
    classes = search(read, folder, range(1000, 2200))
    print(f"\n{read.__name__}: {dict(classes.most_common())}")
