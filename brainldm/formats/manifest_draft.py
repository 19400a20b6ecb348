"""From the scans that a source lists to a manifest: checked, split by participant, and written with a record of how."""

import csv
import hashlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from brainldm import __version__
from brainldm.core.errors import DataError
from brainldm.core.files import atomic, read_json, sha256, write_json
from brainldm.formats.copies import copies
from brainldm.formats.manifest import COLUMNS, OPTIONAL, SPLITS, Fault, clashes, read_manifest, row_faults
from brainldm.formats.oddities import FAULT, LEFT_OUT, NOTE, Oddity, shown
from brainldm.formats.pointers import link_remedy, pointer_in

ORDER = ("participant_id", "session", "t1w", "age_years", "sex", "ventricles_ml", "brain_ml", "split")


class Rules(NamedTuple):
    """How a draft becomes a manifest: the share of participants held out and the seed of the draw, and what to do with unusable rows."""

    held_out: float
    seed: int
    skip_incomplete: bool


class Draft(NamedTuple):
    """Scans found: texts with `where` (the row's place in the source, of each its own) and a manifest's columns but split.

    `faults` says by row why a row cannot be used, instead of what its cells would say; `passed_over` why files are not taken;
    `n_images` counts all files found, where the source is a folder.
    """

    table: pd.DataFrame
    faults: dict[int, str]
    passed_over: dict[str, str]
    oddities: list[Oddity]
    n_images: int | None = None


class Settled(NamedTuple):
    """The rows of a manifest, and the rows left out: what is wrong with each, by its place in the source.

    `counts` tells what became of every row and file found; `oddities` is all that a person should know.
    """

    table: pd.DataFrame
    left_out: dict[str, list[str]]
    counts: dict[str, dict[str, int]]
    oddities: list[Oddity]


def split_of(participant_id: str, held_out: float, seed: int) -> str:
    """Train or test, from a hash of the seed and the participant alone: who else takes part moves nobody."""
    digest = hashlib.sha256(f"{seed} {participant_id}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") < held_out * 2**64 else "train"


def settle(draft: Draft, rules: Rules, source: Path) -> Settled:
    """Give every row its split and check it, its scan's presence included; DataError lists all faults by their place in the source."""
    table = draft.table.reindex(columns=["where", *COLUMNS, *OPTIONAL])
    table["split"] = [split_of(str(who), rules.held_out, rules.seed) for who in table["participant_id"]]
    sound = table.drop(index=list(draft.faults))
    incomplete = sorted([*draft.faults.items(), *row_faults(sound), *_scan_faults(sound)])
    kept = table.drop(index=list({index for index, _ in incomplete}))
    copied, alike = _copies(kept, source if source.is_dir() else source.parent)
    fatal = [*clashes(kept if rules.skip_incomplete else sound), *copied]
    left_out: dict[str, list[str]] = {}
    for index, fault in incomplete:
        left_out.setdefault(table["where"][index], []).append(fault)
    kind = LEFT_OUT if rules.skip_incomplete else FAULT
    told = sorted([*((index, FAULT, fault) for index, fault in fatal), *((index, kind, fault) for index, fault in incomplete)])
    oddities = [Oddity(what_became, table["where"][index], fault) for index, what_became, fault in told]
    oddities += [*draft.oddities, *alike]
    n_faults = len(fatal) + (0 if rules.skip_incomplete else len(incomplete))
    if n_faults or kept.empty:
        hint = "" if rules.skip_incomplete or not incomplete else "\n(--skip-incomplete leaves out rows that are faulty by themselves)"
        found = f"{n_faults} fault(s)" if n_faults else "expected a scan that can be used, found none"
        raise DataError(f"{source}: {found}; nothing is written\n{shown(oddities)}".rstrip() + hint)
    counts = {"rows": {"found": len(table), "written": len(kept), "left_out": len(left_out)}}
    if draft.n_images is not None:
        without_scan = int(table["t1w"].isna().sum())
        counts["images"] = {
            "found": draft.n_images,
            "written": len(kept),
            "left_out": len(left_out) - without_scan,
            "passed_over": len(draft.passed_over),
        }
    return Settled(kept, left_out, counts, oddities)


def write_manifest(out: Path, settled: Settled, record: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest, which its reader must accept before it appears, and beside it, as .json, `record` with what came of it."""
    if out.suffix != ".tsv":
        raise DataError(f"{out}: expected the name of a manifest, something.tsv, found {out.name!r}")
    used = [column for column in ORDER if column in COLUMNS or settled.table[column].notna().any()]
    table = settled.table[used].assign(t1w=[_seen_from(out.parent, path) for path in settled.table["t1w"]])
    broken = [path for path in table["t1w"] if re.search(r"[\t\r\n]", path)]
    if broken:
        raise DataError(f"{out}: a tab or a line break cannot stand in a manifest. Rename the file or its folder: {broken[0]!r}")
    with atomic(out) as temporary:
        text = table.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n", quoting=csv.QUOTE_NONE)
        temporary.write_text(text, encoding="utf-8")
        read_manifest(temporary)
    result = {
        "manifest": out.name,
        "manifest_sha256": sha256(out),
        "splits": _counts(table),
        **settled.counts,
        "left_out": settled.left_out,
        "notes": [f"{note.where}: {note.what}" for note in settled.oddities if note.kind == NOTE],
    }
    full = {**record, **result, "brainldm": __version__}
    write_json(out.with_suffix(".json"), full)
    return full


def is_own(out: Path, record: Path) -> bool:
    """Return True if `write_manifest` wrote the manifest, which nobody has changed since: its record has its checksum."""
    if not all(os.path.isfile(path) and not os.path.islink(path) for path in (out, record)):
        return False
    try:
        made = read_json(record)
    except DataError:
        return False
    return isinstance(made, dict) and (made.get("manifest"), made.get("manifest_sha256")) == (out.name, sha256(out))


def is_empty(out: Path) -> bool:
    """Return True for the manifest without rows that `brainldm init` writes."""
    header = "\t".join((*COLUMNS, *OPTIONAL)) + "\n"
    return os.path.isfile(out) and not os.path.islink(out) and out.read_bytes() == header.encode()


def _scan_faults(table: pd.DataFrame) -> list[Fault]:
    """Scans that are no files or have no content, and files that stand twice under two names, as symbolic links may."""
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    for index, path in table["t1w"].dropna().items():
        if not os.path.isfile(path):
            faults.append((index, f"t1w: expected a file, found none at {path}{link_remedy(Path(path))}"))
        elif os.path.getsize(path) == 0:
            faults.append((index, f"t1w: {path} is empty. Copy it again, or leave the row out."))
        elif remedy := pointer_in(Path(path)):
            faults.append((index, f"t1w: {path} holds a pointer to its content only. {remedy}."))
        elif (other := seen.setdefault(os.path.realpath(path), path)) != path:
            faults.append((index, f"t1w: {path} is the same file as {other}, by a symbolic link; keep one of the two rows"))
    return faults


def _copies(table: pd.DataFrame, folder: Path) -> tuple[list[Fault], list[Oddity]]:
    """Return copies of one scan whose people are in two splits, as faults, and other copies, as notes."""
    rows = {Path(row.t1w): row for row in table.itertuples()}
    faults: list[Fault] = []
    notes: list[Oddity] = []
    for first, *others in copies(rows):
        for other in others:
            one, two = rows[first], rows[other]
            what = f"t1w: {_short(other, folder)} holds the same bytes as {_short(first, folder)} ({one.where})"
            if one.split != two.split:
                faults.append((two.Index, f"{what}, in the splits {one.split} and {two.split}. Keep one of the two rows."))
            else:
                notes.append(Oddity(NOTE, two.where, f"{what}: a copy counts twice"))
    return faults, notes


def _short(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder that it lies in."""
    home = Path(os.path.abspath(folder))
    return str(path.relative_to(home) if path.is_relative_to(home) else path)


def _seen_from(folder: Path, path: str) -> str:
    """Relative to the manifest's folder where the scan lies below it, so that both can move together; else absolute."""
    home = os.path.abspath(folder)
    return os.path.relpath(path, home) if Path(path).is_relative_to(home) else path


def _counts(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    parts = {split: table[table["split"] == split] for split in SPLITS}
    return {split: {"participants": part["participant_id"].nunique(), "scans": len(part)} for split, part in parts.items()}
