"""Whether a manifest and a sample of its raw scans, each read to its last byte, are what the configuration takes them for."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from brainldm.core import intensities
from brainldm.core.config import Config, Preprocess
from brainldm.core.errors import DataError, ScanError
from brainldm.core.findings import Finding, error, warning
from brainldm.core.grid import Grid
from brainldm.formats.copies import copies
from brainldm.formats.header import Geometry
from brainldm.formats.identifiers import near_misses
from brainldm.formats.manifest import SPLITS, Entry, age_summary, read_manifest
from brainldm.formats.pointers import pointer_in
from brainldm.formats.scan import Scan, read_scan

COARSE = 2.0  # times the grid's spacing
BRAIN_MM = 120.0  # hardly an adult brain is shorter along any axis
DARK = 0.3  # of the range that preprocess.intensity_percentiles takes: below, the brightest hundredth of the head is dark
NEGATIVE = -0.05  # of the brightest voxel
FEW_VALUES = 64  # a scan has hundreds of intensities, a label map dozens
EVERY = 2  # voxels along each axis, of those that are counted
NAMED = 3  # files, at most
FEWEST = {"train": 3, "test": 3}  # scans without which no figure can be computed; a model worth the name needs hundreds
COUNTED_MM = 4.0  # the head is counted at about one voxel in this length
BRIGHT = 0.05  # of the 99.5th percentile: tissue, not air
BRAIN_ML = 2200.0  # no brain with its fluid is larger (measured: 1330 to 1905); a head has more (3437, defaced 2808)
FACE_MM = 45.0  # the face of no head lies so far behind its forehead (measured: -13; defaced 70)

Doubt = tuple[str, str]  # cause and remedy


class Look(NamedTuple):
    """What a scan is like: decisions about its header, edges of a voxel and of the image, intensities."""

    geometry: Geometry
    intensities: dict[str, float]  # core.intensities.MEASURES
    raised: list[str]  # flags of the intensities, those that preprocessing would raise
    voxel_mm: tuple[float, ...]
    field_mm: tuple[float, ...]
    lowest: float
    highest: float
    top: float  # what preprocessing makes 1
    head_p99: float  # 99th percentile of the voxels above the mean
    n_values: int
    head_ml: float  # of what is brighter than air
    face_mm: float  # how far the face lies behind the forehead; 0 where the scan does not reach down to it

    def __str__(self) -> str:
        edges, field = " x ".join(f"{edge:.2f}" for edge in self.voxel_mm), " x ".join(f"{side:.0f}" for side in self.field_mm)
        header = f"{self.geometry.header_form or 'no form'}, unit {self.geometry.header_unit or 'mm'}"
        return f"voxels {edges} mm, field {field} mm, intensities {self.lowest:g} to {self.highest:g}; {header}"


def check_manifest(path: Path, config: Config) -> tuple[list[Finding], list[Entry]]:
    """What there is to say of a manifest as a whole, and its scans; none where it cannot be read."""
    try:
        entries = read_manifest(path)
    except DataError as fault:
        remedy = "correct what is named; `brainldm manifest` writes checked manifests, data_manifest/README.md tells of the columns"
        return [error("manifest", str(path), str(fault), remedy)], []
    splits = Counter(entry.split for entry in entries)
    found = ", ".join(f"{splits[split]} {split}" for split in SPLITS)
    bad = [error("manifest", found, f"{path}: {cause}", remedy) for cause, remedy in manifest_doubts(entries, config)]
    sound = [Finding("manifest", f"{len(entries)} scans: {found}")]
    alike = [
        warning("names", note.where, f"{path}: {note.what}", "give one person one name, lest one be in both splits")
        for note in near_misses(entry.participant_id for entry in entries)
    ]
    return [*(bad or sound), Finding("ages", age_summary(entries)), *alike, *_copies(entries)], entries


def _copies(entries: list[Entry]) -> Iterator[Finding]:
    """Yield what there is to say of scans that hold the same bytes under two names: across splits it is an error."""
    by_path = {entry.t1w: entry for entry in entries}
    remedy = "take one of the two rows out of the manifest"
    for first, *others in copies(by_path):
        for other in others:
            splits = by_path[first].split, by_path[other].split
            cause = f"{other} ({by_path[other].name}) holds the same bytes as {first} ({by_path[first].name})"
            if splits[0] != splits[1]:
                yield error("copies", other.name, f"{cause}, and one is in the split {splits[0]}, the other in {splits[1]}", remedy)
            else:
                yield warning("copies", other.name, f"{cause}: a copy counts twice", remedy)


def manifest_doubts(entries: list[Entry], config: Config) -> list[Doubt]:
    """Cause and remedy of everything for which a run on these scans would fail, some stages on."""
    trained = [entry for entry in entries if entry.split == "train"]
    missing = [str(entry.t1w) for entry in entries if not entry.t1w.is_file()]
    pointers = [str(entry.t1w) for entry in entries if pointer_in(entry.t1w)]
    needs_volumes = config.covariates.volumes == "manifest"
    without = sum(entry.ventricles_ml is None or entry.brain_ml is None for entry in entries)
    raised = {
        (f"{len(missing)} scans are no files: {', '.join(missing[:NAMED])}", "mount or copy them, or correct the column t1w"): missing,
        (
            f"{len(pointers)} scans hold a pointer of git-annex or git-lfs only: {', '.join(pointers[:NAMED])}",
            "get their content with `datalad get`, `git annex get` or `git lfs pull`",
        ): pointers,
        (
            f"{without} scans have no volumes, and covariates.volumes is manifest",
            "add the columns ventricles_ml and brain_ml, or set covariates.volumes: segmented",
        ): needs_volumes and without,
        **{
            (f"no scan is in the split {split}", "choose another --held-out of `brainldm manifest`"): not n
            for split, n in (("train", len(trained)), ("test", len(entries) - len(trained)))
        },
        **{
            (f"{name} is the same for all training scans: no model can be conditioned on it", "add scans of others"): len(values) == 1
            for name, values in ((name, {getattr(entry, name) for entry in trained}) for name in ("sex", "age_years"))
        },
        **{
            (
                f"{n} scans are in the split {split}, too few for any figure, which needs {FEWEST[split]}",
                "add scans, or choose another --held-out",
            ): (0 < n < FEWEST[split])
            for split, n in (("train", len(trained)), ("test", len(entries) - len(trained)))
        },
    }
    return [doubt for doubt, is_raised in raised.items() if is_raised]


def places(n_items: int, n: int) -> list[int]:
    """At most n places spread evenly over 0 ... n_items - 1, both ends among them."""
    return sorted(set(np.linspace(0, n_items - 1, min(n, n_items)).round().astype(int).tolist()))


def check_scan(path: Path, config: Config) -> list[Finding]:
    """What there is to say of one scan; one that cannot be read is an error, or a warning where the run would skip it."""
    name, options = f"scan {path.name}", config.preprocess
    try:
        seen = look(read_scan(path), options)
    except ScanError as fault:
        skipped = options.on_bad_scan == "skip"
        remedy = "mend the file or take it out of the manifest" + (
            "; the run skips it" if skipped else ", or set preprocess.on_bad_scan: skip"
        )
        cause = str(fault) if str(path) in str(fault) else f"{path}: {fault}"
        return [(warning if skipped else error)(name, "cannot be used", cause, remedy)]
    doubts = [warning(name, str(seen), f"{path}: {cause}", remedy) for cause, remedy in scan_doubts(seen, config.grid)]
    wrong = [error(name, str(seen), f"{path}: {cause}", remedy) for cause, remedy in skull_doubts(seen, config.release.skull_stripped)]
    return [*doubts, *wrong] or [Finding(name, str(seen))]


def skull_doubts(seen: Look, stripped: bool) -> list[Doubt]:
    """Cause and remedy, where the scan shows a head and the release would be described as one of brains, or the other way round."""
    is_stripped = seen.head_ml < BRAIN_ML
    if is_stripped == stripped:
        return []
    shows, said = ("a brain without its skull", "false") if is_stripped else ("a head with its skull", "true")
    remedy = f"set release.skull_stripped: {str(is_stripped).lower()} if all scans are such; if only some are, give all of them alike"
    return [(f"it shows {shows} ({seen.head_ml:.0f} mL), and release.skull_stripped is {said}", remedy)]


def look(scan: Scan, options: Preprocess) -> Look:
    """Measure a scan, as preprocessing does before it registers; ScanError if it shows next to nothing."""
    seen = intensities.survey(scan.volume)
    volume = intensities.limited(scan.volume, seen)
    at_0, at_1 = (float(value) for value in np.percentile(volume, options.intensity_percentiles))
    if not at_1 > at_0:
        raise ScanError(f"expected intensities that vary, found percentiles {options.intensity_percentiles} both at {at_0:g}")
    measured = intensities.measures(seen, at_0, at_1)
    voxel_mm = np.linalg.norm(scan.affine[:3, :3], axis=0)
    counted = volume[::EVERY, ::EVERY, ::EVERY]
    return Look(
        scan.geometry,
        measured,
        intensities.flags(measured, options.flags),
        tuple(voxel_mm.tolist()),
        tuple((voxel_mm * volume.shape).tolist()),
        float(volume.min()),
        float(volume.max()),
        at_1,
        float(np.percentile(volume[volume > volume.mean()], 99)),
        len(np.unique(counted)),
        *_head(volume, voxel_mm, seen.background[1]),
    )


def _head(volume: np.ndarray, voxel_mm: np.ndarray, air: float) -> tuple[float, float]:
    """How many mL are brighter than air, whose level is `air`, and how far the face lies behind the forehead in mm.

    The face is what lies 110 to 150 mm below the top, the forehead what lies 40 to 80 mm below.
    """
    step = np.maximum(np.rint(COUNTED_MM / voxel_mm).astype(int), 1)
    coarse, edges_mm = volume[:: step[0], :: step[1], :: step[2]], voxel_mm * step
    bright = coarse > air + BRIGHT * (np.percentile(coarse, 99.5) - air)
    if not bright.any():
        return 0.0, 0.0
    x, _, z = np.nonzero(bright)
    middle = bright[np.abs(np.arange(len(bright)) - np.median(x)) * edges_mm[0] < 30].sum(axis=0) > 1  # along front and height
    front_mm = np.where(middle.any(axis=0), (middle.shape[0] - np.argmax(middle[::-1], axis=0)) * edges_mm[1], np.nan)
    below_mm = (np.percentile(z, 99.9) - np.arange(middle.shape[1])) * edges_mm[2]
    forehead, face = (front_mm[(below_mm >= low) & (below_mm <= low + 40)] for low in (40, 110))
    known = np.isfinite(forehead).any() and np.isfinite(face).any()
    return float(bright.sum() * edges_mm.prod() / 1000), float(np.nanmax(forehead) - np.nanmax(face)) if known else 0.0


def scan_doubts(seen: Look, grid: Grid) -> list[Doubt]:
    """Cause and remedy of everything that makes a scan doubtful."""
    longest, shortest = max(seen.voxel_mm), min(seen.field_mm)
    is_negative = seen.lowest < NEGATIVE * seen.highest
    raised: dict[Doubt, bool] = {
        (
            f"its header called for a decision: {seen.geometry.header_notes}",
            "look at the scan, and correct its header if the decision is wrong",
        ): seen.geometry.header_notes != "",
        (
            f"its voxels are up to {longest:.2f} mm long: it lacks the detail of a grid of {grid.spacing_mm:g} mm",
            "take such scans out of the manifest, choose a coarser grid.spacing_mm, or super-resolve (preprocess.backend: unires)",
        ): longest > COARSE * grid.spacing_mm,
        (
            f"its field of view is {shortest:.0f} mm along one axis: the brain may be cut",
            "look at it, and take it out of the manifest if so",
        ): shortest < BRAIN_MM,
        (
            f"it holds {seen.n_values} different intensities, as few as a label map or a mask",
            "name the T1w scan in the column t1w",
        ): seen.n_values < FEW_VALUES,
        (
            f"its intensities go down to {seen.lowest:g}: it was normalised, or is no magnitude image",
            "name the scan as the scanner wrote it",
        ): is_negative,
        **{doubt: flag in seen.raised and not (is_negative and flag == "intensity_offset") for flag, doubt in _intensity_doubts(seen)},
        (
            "a few voxels are far brighter than the head and would take the range [0, 1]: the brain would be dark",
            "lower the upper of preprocess.intensity_percentiles, to 99.8 say",
        ): seen.head_p99 < DARK * seen.top,
        (
            f"its face lies {seen.face_mm:.0f} mm behind its forehead: it was defaced",
            "nothing, if all scans are; if only some are, deface all of them: a model learns both kinds",
        ): seen.head_ml >= BRAIN_ML and seen.face_mm > FACE_MM,
    }
    return [doubt for doubt, is_raised in raised.items() if is_raised]


def _intensity_doubts(seen: Look) -> list[tuple[str, Doubt]]:
    """Each flag of the intensities with its cause and remedy."""
    measured = seen.intensities
    look_at = "look at it, and take it out of the manifest if so"
    return [
        (
            "bright_background",
            (
                f"its air would lie at {measured['background_level']:.2f} instead of 0: some voxels are darker, or it is inverted",
                "raise the lower of preprocess.intensity_percentiles, or name the scan as the scanner wrote it",
            ),
        ),
        (
            "noisy_background",
            (
                f"noise in its air spreads over {measured['background_noise']:.2f} of the range, as in uniform images of MP2RAGE",
                "name an image whose air is dark (MP2RAGE: the denoised or masked one)",
            ),
        ),
        (
            "intensity_offset",
            (
                f"its air lies {measured['intensity_offset']:.2f} of the range from 0: a constant was added",
                "nothing: scaling takes it away; look whether all scans have it",
            ),
        ),
        ("wrapped_integers", ("bright voxels lie beside dark ones as if integers had wrapped around", look_at)),
        ("slices_out_of_order", ("a slice does not fit between its neighbours: slices were exchanged, or the head moved", look_at)),
    ]
