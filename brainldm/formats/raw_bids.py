"""Scans of a BIDS raw dataset: which images, and of each the participant's sex and the age at the scan."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from brainldm.core.errors import DataError
from brainldm.formats.bids_images import Choice, Found, Sessions, find_images, order
from brainldm.formats.bids_people import Person, read_people
from brainldm.formats.bids_sessions import SessionAges, read_session_ages
from brainldm.formats.identifiers import natural
from brainldm.formats.manifest_draft import Draft
from brainldm.formats.oddities import NOTE, PASSED_OVER, Oddity

OTHER_SESSION = "another session of the participant is taken (--sessions all takes each)"
OTHER_IMAGE = (
    "another image of the session is preferred (--prefer)",
    "it was processed (space-, desc-): the raw image of the session is taken (--prefer changes it)",
    "it is defaced, another image of the session is not (--prefer changes it)",
    "a later run: the lowest of the session is taken (--prefer changes it)",
    "an image of the session with fewer entities is taken (--prefer changes it)",
    "an image of the session that comes first by name is taken (--prefer changes it)",
)  # by the part of `bids_images.order` that decides


class Row(NamedTuple):
    """A row of the draft, and why it cannot be used."""

    values: dict[str, Any]
    fault: str | None


def draft_of_bids(folder: Path, every_session: bool, choice: Choice) -> Draft:
    """Return a row per participant, that of the first session with a T1w image, or one per session.

    Ages and sexes come from participants.tsv, ages at sessions from the participants' tables of sessions where these have ages.
    DataError if there is no T1w image, or participants.tsv cannot be read.
    """
    people = read_people(folder)
    found = find_images(folder, choice)
    if not found.images and not found.passed_over:
        raise DataError(f"{folder}: expected a BIDS dataset with sub-*/[ses-*/]anat/*_T1w.nii.gz, found no such file")
    rows: list[Row] = []
    notes = list(people.notes)
    passed_over = dict(found.passed_over)
    told: set[str] = set()
    for person in people.persons:
        sessions = found.images.get(person.folder, {})
        ages = read_session_ages(folder, person.folder, people.unit)
        taken = _taken(sessions, every_session)
        notes += _session_notes(person.folder, sessions, taken, ages, every_session)
        if not taken:
            mine = {name: why for name, why in passed_over.items() if name.split("/")[0] == person.folder}
            told |= mine.keys()
            rows.append(_without_scan(person, mine))
        rows += [_row(person, session, ages, sessions[session][0]) for session in taken]
        passed_over |= _others(folder, sessions, taken)
    oddities = [Oddity(PASSED_OVER, name, why) for name, why in sorted(passed_over.items()) if name not in told]
    faults = {index: row.fault for index, row in enumerate(rows) if row.fault}
    return Draft(pd.DataFrame([row.values for row in rows], dtype=object), faults, passed_over, notes + oddities, _count(found))


def _taken(sessions: Sessions, every_session: bool) -> list[str]:
    in_order = sorted(sessions, key=natural)
    return in_order if every_session else in_order[:1]


def _count(found: Found) -> int:
    return len(found.passed_over) + sum(len(paths) for sessions in found.images.values() for paths in sessions.values())


def _row(person: Person, session: str, ages: SessionAges | None, image: Path) -> Row:
    where = f"{person.where} ({person.folder}_{session})" if session else f"{person.where} ({person.folder})"
    age, fault = person.age_years, person.fault
    if fault is None and session and ages is not None and ages.has_ages:
        age, fault = ages.at(session)
    values = {
        "where": where,
        "participant_id": person.folder,
        "session": session or None,
        "t1w": os.path.abspath(image),
        "age_years": age,
        "sex": person.sex,
    }
    return Row(values, fault)


def _without_scan(person: Person, passed_over: dict[str, str]) -> Row:
    """Return the row of a participant of whom no image is taken."""
    where = f"{person.where} ({person.folder})" if person.folder else person.where
    reasons = "".join(f"; {name}: {why}" for name, why in passed_over.items())
    fault = person.fault or f"t1w: no T1w image below its folder is taken{reasons or '; there is none'}"
    return Row({"where": where, "participant_id": person.folder or None, "age_years": person.age_years, "sex": person.sex}, fault)


def _others(folder: Path, sessions: Sessions, taken: list[str]) -> dict[str, str]:
    """Return why each of the participant's images that are not taken is not."""
    reasons: dict[str, str] = {}
    for session, paths in sessions.items():
        for path in paths[1:] if session in taken else paths:
            reason = _why_not(paths[0], path) if session in taken else OTHER_SESSION
            reasons[path.relative_to(folder).as_posix()] = reason
    return reasons


def _why_not(taken: Path, other: Path) -> str:
    pairs = zip(order(taken.name), order(other.name), strict=True)
    deciding = next(place for place, (one, two) in enumerate(pairs) if one != two)
    return OTHER_IMAGE[deciding] if order(taken.name) < order(other.name) else OTHER_IMAGE[0]


def _session_notes(who: str, sessions: Sessions, taken: list[str], ages: SessionAges | None, every_session: bool) -> Iterator[Oddity]:
    """What a person should know of where the ages of a participant's sessions come from."""
    several = len(taken) > 1
    if ages is None:
        if several:
            yield Oddity(NOTE, who, "the age of participants.tsv is taken for each of its sessions: it has no sessions.tsv")
        return
    if not ages.has_ages and taken:
        yield Oddity(NOTE, ages.path.name, "it has no column age: the age of participants.tsv is taken")
    elif "" in taken:
        yield Oddity(NOTE, ages.path.name, "it is not used: the scan lies in no folder of a session")
    yield from ages.notes
    if every_session and ages.has_ages:
        yield from ages.unused(set(sessions))
