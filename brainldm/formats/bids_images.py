"""Which files of a BIDS raw dataset are the T1w scans: every *_T1w image below anat/ is taken, or listed with the reason."""

import json
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from brainldm.core.errors import DataError
from brainldm.core.regular_files import MOST_TEXT, open_regular, read_all
from brainldm.formats.identifiers import ID_PATTERN, LABEL, SESSION_PATTERN

CONTRAST = "ce-*"
CONTRAST_GIVEN = "a contrast agent was given (--exclude '' takes it)"
EXCLUDED = (CONTRAST,)
NOT_RAW = frozenset(["derivatives", "sourcedata", "code", "phenotype", "stimuli"])  # folders of BIDS that hold no raw scans
NO_MAGNITUDE_TYPES = frozenset(["P", "PHASE", "IMAGINARY", "REAL"])  # of DICOM's ImageType
MAGNITUDE_TYPES = frozenset(["M", "MAGNITUDE"])
NO_MAGNITUDE = frozenset(["phase", "real", "imag"])  # of the entity part
NO_IMAGES = (".json", ".tsv", ".csv", ".txt", ".html", ".bval", ".bvec", ".mat", ".md5")
PROCESSED = frozenset(["space", "desc", "res", "den"])  # entities of derivatives
DEFACED = re.compile("defac|pydeface|mideface|quickshear|anonymi")
NAME = re.compile(rf"(?P<stem>sub-{LABEL}(?:_[a-z]+-{LABEL})*)_T1w\.nii(?:\.gz)?")

Sessions = dict[str, list[Path]]  # images by session ("" where there are none), the one to take first


class Choice(NamedTuple):
    """What is taken: images with an entity of `excluded` are not; of several, one with the first of `preferred`.

    Both are patterns of entities such as ce-*, acq-mprage or rec-defaced.
    """

    excluded: tuple[str, ...] = EXCLUDED
    preferred: tuple[str, ...] = ()


class Found(NamedTuple):
    """Images by participant and session, and the others: why each is no scan to take, by its path in the dataset."""

    images: dict[str, Sessions]
    passed_over: dict[str, str]


def find_images(folder: Path, choice: Choice) -> Found:
    """Return every T1w image of a dataset, in the order in which they would be taken."""
    images: dict[str, Sessions] = {}
    passed_over: dict[str, str] = {}
    for path in sorted(_candidates(folder)):
        parts = path.relative_to(folder).parts
        reason = _misplaced(parts) or _misnamed(parts) or _unwanted(entities(path.name), choice.excluded)
        reason = reason or _unwanted_by_sidecar(path, choice.excluded)
        if reason is None and path.is_dir():
            reason = "it is a folder"
        if reason is not None:
            passed_over[path.relative_to(folder).as_posix()] = reason
            continue
        session = parts[1] if parts[1].startswith("ses-") else ""
        images.setdefault(parts[0], {}).setdefault(session, []).append(path)
    for sessions in images.values():
        for paths in sessions.values():
            paths.sort(key=lambda path: order(path.name, choice.preferred))
    return Found(images, passed_over)


def entities(name: str) -> list[str]:
    """Return the entities of a file's name but sub and ses, such as acq-mprage."""
    parts = name.partition(".")[0].split("_")[:-1]
    return [part for part in parts if not part.startswith(("sub-", "ses-"))]


def order(name: str, preferred: tuple[str, ...] = ()) -> tuple[int, bool, bool, int, int, str]:
    """Return what sorts the images of a session: preferred, raw, not defaced, the lowest run, the fewest entities, by name."""
    own = entities(name)
    ranks = [place for place, pattern in enumerate(preferred) if any(fnmatchcase(entity, pattern) for entity in own)]
    runs = [int(entity.removeprefix("run-")) for entity in own if re.fullmatch(r"run-[0-9]+", entity)]
    is_processed = any(entity.partition("-")[0] in PROCESSED for entity in own)
    is_defaced = any(DEFACED.search(entity.casefold()) for entity in own)
    return min(ranks, default=len(preferred)), is_processed, is_defaced, min(runs, default=0), len(own), name


def _candidates(folder: Path) -> Iterator[Path]:
    """Every file that calls itself a T1w image, below any anat/ of a person or a session."""
    for top in folder.iterdir():
        if top.name.startswith(".") or top.name in NOT_RAW or not top.is_dir():
            continue
        for anat in [*top.glob("[aA][nN][aA][tT]"), *top.glob("*/[aA][nN][aA][tT]")]:
            for here, folders, files in os.walk(anat):
                yield from (Path(here, name) for name in [*files, *folders] if _is_t1w(name))


def _is_t1w(name: str) -> bool:
    small = name.casefold()
    return "_t1w" in small and not small.endswith(NO_IMAGES)


def _misplaced(parts: tuple[str, ...]) -> str | None:
    """Return why the folders of a file are not those of a scan, sub-<label>/[ses-<label>/]anat/, or None."""
    who, *between, _ = parts
    if not re.fullmatch(ID_PATTERN, who):
        return f"its folder {who} is no sub-<label>"
    if between[0] != "anat" and not re.fullmatch(SESSION_PATTERN, between[0]):
        return f"its folder {between[0]} is no ses-<label>" if between[0].casefold() != "anat" else "its folder is not called anat"
    below = between if between[0] == "anat" else between[1:]
    if below == ["anat"]:
        return None
    return "it lies in a folder below anat" if below[0] == "anat" else "its folder is not called anat"


def _misnamed(parts: tuple[str, ...]) -> str | None:
    """Return why a file's name is not that of a T1w scan of its folders, or None."""
    name = parts[-1]
    if name.startswith("."):
        return "it is a hidden file" + (", as macOS leaves them" if name.startswith("._") else "")
    found = NAME.fullmatch(name)
    if found is None:
        return f"its name is none that BIDS has: {_name_fault(name)}"
    own = found["stem"].split("_")
    keys = [entity.partition("-")[0] for entity in own]
    if len(set(keys)) < len(keys):
        return "its name has an entity twice"
    expected = [part for part in parts[:-2] if part != "anat"]
    if own[: len(expected)] != expected or ("ses" in keys and len(expected) == 1):
        return f"its name begins with {'_'.join(own[:2] if 'ses' in keys else own[:1])}, its folder is {'/'.join(expected)}"
    return None


def _name_fault(name: str) -> str:
    stem, dot, ending = name.partition(".")
    if dot and f".{ending}" not in (".nii", ".nii.gz"):
        return f"it ends in .{ending}, not in .nii or .nii.gz"
    if not stem.endswith("_T1w"):
        return "it does not end in _T1w"
    wrong = next((part for part in stem.split("_")[:-1] if not re.fullmatch(rf"[a-z]+-{LABEL}", part)), stem)
    return f"{wrong!r} is no entity such as acq-mprage" if wrong != stem else "it does not begin with sub-<label>"


def _unwanted(own: list[str], excluded: tuple[str, ...]) -> str | None:
    part = next((entity for entity in own if entity.startswith("part-") and entity.removeprefix("part-") in NO_MAGNITUDE), None)
    if part is not None:
        return f"{part} is no magnitude image"
    pattern = next((pattern for pattern in excluded if any(fnmatchcase(entity, pattern) for entity in own)), None)
    if pattern == CONTRAST:
        return CONTRAST_GIVEN
    return None if pattern is None else f"--exclude {pattern}"


def _unwanted_by_sidecar(path: Path, excluded: tuple[str, ...]) -> str | None:
    """Return why the JSON beside an image says that it is not wanted, or None; one that cannot be read says nothing."""
    try:
        beside = path.with_name(path.name.partition(".")[0] + ".json")
        told = json.loads(read_all(open_regular(beside), beside, MOST_TEXT).decode("utf-8-sig"))
        kinds = {str(kind).upper() for kind in told.get("ImageType", [])}
        agent = str(told.get("ContrastBolusIngredient") or "none").strip().casefold()
    except (DataError, ValueError, AttributeError, TypeError, RecursionError):
        return None
    if kinds & NO_MAGNITUDE_TYPES and not kinds & MAGNITUDE_TYPES:
        return f"its .json calls it no magnitude image ({', '.join(sorted(kinds & NO_MAGNITUDE_TYPES))})"
    if CONTRAST in excluded and agent not in ("", "none", "n/a", "no"):
        return f"{CONTRAST_GIVEN}: its .json names it"
    return None
