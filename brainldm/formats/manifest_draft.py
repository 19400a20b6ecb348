"""From the scans that a source lists to a manifest: checked, split by participant, and written with a record of how."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from brainldm import __version__
from brainldm.core.errors import DataError
from brainldm.core.files import atomic, read_json, sha256, write_json
from brainldm.formats.manifest import COLUMNS, OPTIONAL, SPLITS, Fault, clashes, listed, read_manifest, row_faults
from brainldm.formats.tables import write_tsv

ORDER = ("participant_id", "session", "t1w", "age_years", "sex", "ventricles_ml", "brain_ml", "split")
SEX_SPELLINGS = {"f": "F", "female": "F", "m": "M", "male": "M"}


class Rules(NamedTuple):
    """How a draft becomes a manifest: the share of participants held out and the seed of the draw, and what to do with unusable rows."""

    held_out: float
    seed: int
    skip_incomplete: bool


class Draft(NamedTuple):
    """Scans found: a table of texts with `where` (the row's place in the source) and a manifest's columns but split; scans passed over."""

    table: pd.DataFrame
    passed_over: list[str]


class Settled(NamedTuple):
    """The rows of a manifest, and the rows left out: what is wrong with each, by its place in the source."""

    table: pd.DataFrame
    left_out: dict[str, list[str]]


def whole(value: Any) -> str:
    """'1.0' -> '1': codes and names that some program took for floats; other texts as they are."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", str(value))


def label(prefix: str, value: Any) -> Any:
    """'A-01', 'sub-A01' -> 'sub-A01': the prefix, then letters and digits; nothing where none is left."""
    text = "" if pd.isna(value) else whole(value)
    kept = re.sub(r"[^A-Za-z0-9]", "", text.removeprefix(f"{prefix}-"))
    return f"{prefix}-{kept}" if kept else None


def sex_code(value: Any) -> Any:
    """F or M for the common spellings; anything else as it is."""
    return SEX_SPELLINGS.get(str(value).casefold(), value)


def split_of(participant_id: str, held_out: float, seed: int) -> str:
    """Train or test, from a hash of the seed and the participant alone: who else takes part moves nobody."""
    digest = hashlib.sha256(f"{seed} {participant_id}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") < held_out * 2**64 else "train"


def settle(draft: Draft, rules: Rules, source: Path) -> Settled:
    """Give every row its split and check it, its scan's presence included; DataError lists all faults by their place in the source."""
    table = draft.table.reindex(columns=["where", *COLUMNS, *OPTIONAL])
    table["split"] = [split_of(str(who), rules.held_out, rules.seed) for who in table["participant_id"]]
    incomplete = [*row_faults(table), *_scan_faults(table)]
    kept = table.drop(index=list({index for index, _ in incomplete})) if rules.skip_incomplete else table
    fatal = clashes(kept) if rules.skip_incomplete else incomplete + clashes(kept)
    if fatal:
        hint = "" if rules.skip_incomplete or not incomplete else "\n(--skip-incomplete leaves out rows that are faulty by themselves)"
        raise DataError(f"{source}: {listed(table, fatal)}{hint}")
    if kept.empty:
        raise DataError(f"{source}: expected a scan that can be used, found {listed(table, incomplete) if len(table) else 'no rows'}")
    left_out: dict[str, list[str]] = {}
    for index, fault in sorted(incomplete):
        left_out.setdefault(table["where"][index], []).append(fault)
    return Settled(kept, left_out)


def write_manifest(out: Path, settled: Settled, record: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest, which its reader must accept before it appears, and beside it, as .json, `record` with what came of it."""
    if out.suffix != ".tsv":
        raise DataError(f"{out}: expected the name of a manifest, something.tsv, found {out.name!r}")
    used = [column for column in ORDER if column in COLUMNS or settled.table[column].notna().any()]
    table = settled.table[used].assign(t1w=[_seen_from(out.parent, path) for path in settled.table["t1w"]])
    with atomic(out) as temporary:
        write_tsv(temporary, table)
        read_manifest(temporary)
    result = {"manifest": out.name, "manifest_sha256": sha256(out), "splits": _counts(table), "left_out": settled.left_out}
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
    """Scans that are no files, and files that stand twice under two names, as symbolic links may."""
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    for index, path in table["t1w"].dropna().items():
        if not os.path.isfile(path):
            faults.append((index, f"t1w: expected a file, found none at {path}{_broken(path)}"))
        elif (other := seen.setdefault(os.path.realpath(path), path)) != path:
            faults.append((index, f"t1w: {path} is the same file as {other}, by a symbolic link; keep one of the two rows"))
    return faults


def _broken(path: str) -> str:
    """What to do about a symbolic link that leads nowhere, as datalad and git-annex leave them."""
    return f", a symbolic link to {os.readlink(path)}, which is not there; get its content (`datalad get`)" if os.path.islink(path) else ""


def _seen_from(folder: Path, path: str) -> str:
    """Relative to the manifest's folder where the scan lies below it, so that both can move together; else absolute."""
    home = os.path.abspath(folder)
    return os.path.relpath(path, home) if Path(path).is_relative_to(home) else path


def _counts(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    parts = {split: table[table["split"] == split] for split in SPLITS}
    return {split: {"participants": part["participant_id"].nunique(), "scans": len(part)} for split, part in parts.items()}
