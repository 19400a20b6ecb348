"""Scans of a BIDS raw dataset: anat/*_T1w.nii[.gz], ages and sexes from participants.tsv, ages at sessions from *_sessions.tsv."""

import logging
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from brainldm.core.errors import DataError
from brainldm.formats.manifest_draft import Draft, label, sex_code
from brainldm.formats.raw_table import read_texts

Images = dict[str, dict[str, list[Path]]]  # by participant, by session ("" where there are none), by name


class _Person(NamedTuple):
    """A participant's line of participants.tsv."""

    where: str
    age_years: Any
    sex: Any


NOBODY = _Person("no line in participants.tsv", None, None)


def draft_of_bids(folder: Path, every_session: bool) -> Draft:
    """A row per participant, that of the first session with a T1w, or one per session; of several T1w in a session the first by name."""
    people, images = _people(folder / "participants.tsv"), _images(folder)
    if not images:
        raise DataError(f"{folder}: expected a BIDS dataset with sub-*/[ses-*/]anat/*_T1w.nii.gz, found no such file")
    rows: list[dict[str, Any]] = []
    for who in [*people, *sorted(images.keys() - people)]:
        sessions = images.get(who, {"": []})
        ages = _ages(folder / who / f"{who}_sessions.tsv")
        taken = sorted(sessions) if every_session else sorted(sessions)[:1]
        rows += [_row(who, people.get(who, NOBODY), session, ages.get(session), sessions[session]) for session in taken]
    chosen = {row["t1w"] for row in rows}
    everything = [os.path.abspath(path) for sessions in images.values() for paths in sessions.values() for path in paths]
    passed_over = [os.path.relpath(path, folder) for path in sorted(everything) if path not in chosen]
    if passed_over:
        more = f" and {len(passed_over) - 3} more" if len(passed_over) > 3 else ""
        logging.info("passed over, one scan taken of each %s: %s%s", _unit(every_session), ", ".join(passed_over[:3]), more)
    return Draft(pd.DataFrame(rows, dtype=object), passed_over)


def _unit(every_session: bool) -> str:
    return "session" if every_session else "participant"


def _row(who: str, person: _Person, session: str, age_then: Any, images: list[Path]) -> dict[str, Any]:
    name = f"{who}_{session}" if session else who
    return {
        "where": f"{person.where} ({name})",
        "participant_id": who,
        "session": session or None,
        "t1w": os.path.abspath(images[0]) if images else None,
        "age_years": person.age_years if pd.isna(age_then) else age_then,
        "sex": sex_code(person.sex),
    }


def _people(path: Path) -> dict[str, _Person]:
    table = _lower_case(read_texts(path))
    if missing := {"participant_id", "age", "sex"} - set(table.columns):
        raise DataError(f"{path}: expected the column(s) {', '.join(sorted(missing))}, found {', '.join(table.columns)}")
    people: dict[str, _Person] = {}
    for row in table.itertuples():
        who = label("sub", row.participant_id)
        if who is None or who in people:
            found = f"{who}, which has one already" if who else "nothing"
            raise DataError(f"{path}: expected a line per participant, found {found}, on line {row.Index}")
        people[who] = _Person(f"participants.tsv line {row.Index}", row.age, row.sex)
    return people


def _ages(path: Path) -> dict[str, Any]:
    """Ages by session, where there is a table of sessions that has them."""
    if not path.exists():
        return {}
    table = _lower_case(read_texts(path))
    if not {"session_id", "age"} <= set(table.columns):
        return {}
    return {label("ses", session): age for session, age in zip(table["session_id"], table["age"], strict=True)}


def _lower_case(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(columns=str.lower)


def _images(folder: Path) -> Images:
    images: Images = {}
    for path in sorted([*folder.glob("sub-*/anat/*_T1w.nii*"), *folder.glob("sub-*/ses-*/anat/*_T1w.nii*")]):
        who, *session = path.relative_to(folder).parts[:-2]
        prefix = "_".join((who, *session))
        if re.fullmatch(rf"{prefix}(_[a-z]+-[A-Za-z0-9]+)*_T1w\.nii(\.gz)?", path.name):
            images.setdefault(who, {}).setdefault("".join(session), []).append(path)
    return images
