"""Planted poses found by `brainldm preprocess`' registration: error, CPU-seconds, and the cost of the same library called naively.

python benchmarks/registration.py --scans A.nii.gz B.nii.gz    # real T1w heads, six poses each; without them all poses are of demo scans

Three truths. "own": where the registration of the same head, unperturbed, puts the pose that was planted. For demo scans also "true": the
pose that the population drew, and "best": the rigid transform nearest to how its individual brain is deformed (Procrustes over the
brain). "true" to "best" is inherent: what no rigid registration of such a brain can know.
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import nibabel as nib
import numpy as np
from picsl_greedy import Greedy3D
from scipy import ndimage
from scipy.spatial.transform import Rotation

from brainldm.core.config import Cohort, Preprocess
from brainldm.core.files import write_json, write_text
from brainldm.core.grid import Grid
from brainldm.formats.nifti import encode_native, write_bytes
from brainldm.formats.scan import Scan, read_scan
from brainldm.imaging.anatomy import CENTER_MM, anatomy_of, to_template
from brainldm.imaging.mni152 import read_map
from brainldm.imaging.native import acquire
from brainldm.imaging.population import draw_subject
from brainldm.imaging.register import _image, _quiet, register

SEED = 7
ENOUGH = 0.75  # preprocess.min_similarity
ROTATION_DEG, TRANSLATION_MM = 30, 20  # at most, about and along each axis
POSES_OF_A_SCAN = 6  # half of them written into the affine, half resampled
N_THICK = 3
COPIES = 4  # of every scan in the run of the whole stage, each worked on anew
NAIVE = "-d 3 -a -dof 6 -i fixed moving -o pose -m NMI -ia-image-centers -search 1000 40 30 -n 100x50x10 -threads 1 -V 0 -seed 1"
HEADER = "scan                      own (worst point)  true  best  inherent  similarity  CPU-s"
LINE = (
    "{name:26s}{own_mm:4.2f} ({own_worst_mm:4.2f})       {true_mm:5.2f} {best_mm:5.2f}     {inherent_mm:5.2f}"
    "       {similarity:5.3f}  {cpu_s:5.2f}"
)
PAPER_GRID = Grid(shape=(160, 224, 160), spacing_mm=1.0, center_mm=(0.0, -17.0, 7.0))


class Case(NamedTuple):
    """A scan in a planted pose: `planted` [4, 4] takes the unperturbed scan's world to this one's; of demo scans, `true` and `best` too."""

    name: str
    scan: Scan
    unperturbed: Scan
    planted: np.ndarray
    true: np.ndarray | None = None
    best: np.ndarray | None = None


class Row(NamedTuple):
    """Errors in mm, mean over the brain (`own_worst_mm`: its worst point); NaN where there is no such truth."""

    name: str
    own_mm: float
    own_worst_mm: float
    true_mm: float
    best_mm: float
    inherent_mm: float
    swapped: bool
    similarity: float
    cpu_s: float
    mni_to_native: np.ndarray


@cache
def brain_mm() -> np.ndarray:
    """Points of the template's brain, [N, 3]."""
    volume, affine = read_map("t1")
    return np.argwhere(volume[::8, ::8, ::8] > 20) * 8 + affine[:3, 3]


def distances_mm(one: np.ndarray, other: np.ndarray | None) -> np.ndarray:
    """How far apart two poses put the points of the brain, [N]."""
    if other is None:
        return np.full(1, np.nan)
    return np.linalg.norm(brain_mm() @ (one - other)[:3, :3].T + (one - other)[:3, 3], axis=1)


def best_rigid(anatomy) -> np.ndarray:
    """The rigid transform [4, 4] from a subject in MNI pose to the template nearest to its deformation over the brain."""
    subject, shown = brain_mm(), to_template(anatomy, brain_mm().T).T
    rotation, _ = Rotation.align_vectors(shown - shown.mean(0), subject - subject.mean(0))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.as_matrix()
    matrix[:3, 3] = shown.mean(0) - matrix[:3, :3] @ subject.mean(0)
    return matrix


def demo_cases(n_cases: int, n_thick: int = N_THICK) -> Iterator[Case]:
    """Subjects of the embedded population, scanned upright and in their pose; the first `n_thick` in slices of 4 to 6 mm."""
    ranges = {"thick_slice_mm": (4, 6), "spacing_mm": (2, 3), "noise": (0.01, 0.03), "n_label_maps": 1, "held_out_fraction": 0.25}
    for index in range(n_cases):
        options = Cohort(
            n_subjects=n_cases,
            thick_slice_fraction=float(index < n_thick),
            rotation_deg=ROTATION_DEG,
            translation_mm=TRANSLATION_MM,
            **ranges,
        )
        subject = draw_subject(options, SEED, index)
        anatomy, thick = anatomy_of(subject.brain), " thick" * (index < n_thick)
        posed = acquire(anatomy, subject.acquisition)
        upright = acquire(anatomy, replace(subject.acquisition, rotation_deg=(0, 0, 0), translation_mm=(0, 0, 0)))
        true = np.linalg.inv(posed.to_mni)
        best = true @ np.linalg.inv(best_rigid(anatomy))
        yield Case(f"{subject.participant_id}{thick}", _ras(posed.t1w, posed.affine), _ras(upright.t1w, upright.affine), true, true, best)


def real_cases(path: Path, n_cases: int = POSES_OF_A_SCAN) -> Iterator[Case]:
    """Poses of a real head: written into its affine, and, every other one, resampled at 1 mm into an upright box of the scan's own size."""
    scan, rng = read_scan(path), np.random.default_rng(SEED)
    for index in range(n_cases):
        planted = random_pose(rng)
        moved = Scan(scan.volume, planted @ scan.affine)
        name = f"{path.name.split('.')[0]} {('affine', 'resampled')[index % 2]}"
        yield Case(name, resampled(moved, 1.0) if index % 2 else moved, scan, planted)


def random_pose(rng: np.random.Generator) -> np.ndarray:
    """A rigid transform [4, 4] about the middle of the brain."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-ROTATION_DEG, ROTATION_DEG, 3), degrees=True).as_matrix()
    pose[:3, 3] = CENTER_MM - pose[:3, :3] @ CENTER_MM + rng.uniform(-TRANSLATION_MM, TRANSLATION_MM, 3)
    return pose


def resampled(scan: Scan, spacing_mm: float) -> Scan:
    """The scan in an upright box of its own size about its own middle: corners are cut off, others are empty."""
    shape = np.rint(np.array(scan.volume.shape) * nib.affines.voxel_sizes(scan.affine) / spacing_mm).astype(int)
    middle = scan.affine[:3, :3] @ (np.array(scan.volume.shape) - 1) / 2 + scan.affine[:3, 3]
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = middle - spacing_mm * (shape - 1) / 2
    matrix = np.linalg.inv(scan.affine) @ affine
    return Scan(ndimage.affine_transform(scan.volume, matrix, output_shape=tuple(shape), order=1, cval=scan.volume.min()), affine)


def evaluate(cases: Iterator[Case], spacing_mm: float) -> Iterator[Row]:
    """Register every case and the unperturbed scan that it belongs to."""
    unperturbed: tuple[Scan | None, np.ndarray] = (None, np.eye(4))
    for case in cases:
        if unperturbed[0] is not case.unperturbed:
            unperturbed = case.unperturbed, register(*case.unperturbed, spacing_mm, ENOUGH, SEED).mni_to_native
        start = time.process_time()
        pose = register(*case.scan, spacing_mm, ENOUGH, SEED)
        cpu_s = time.process_time() - start
        own = case.planted @ unperturbed[1]
        errors = [distances_mm(pose.mni_to_native, truth) for truth in (own, case.true, case.best)]
        inherent = np.nan if case.true is None else distances_mm(case.true, case.best).mean()
        swapped = bool((pose.mni_to_native[:3, :3].T @ own[:3, :3])[0, 0] < 0)
        means = [float(error.mean()) for error in errors]
        yield Row(
            case.name, means[0], float(errors[0].max()), means[1], means[2], inherent, swapped, pose.similarity, cpu_s, pose.mni_to_native
        )


def naive(scan: Scan) -> np.ndarray:
    """The same library with its random search on the images as they are, the template at 1 mm: its pose [4, 4]."""
    greedy, log = Greedy3D(), io.StringIO()
    with _quiet():
        greedy.execute(NAIVE, log, log, fixed=_image(*read_map("t1")), moving=_image(scan.volume, scan.affine), pose=None)
    return np.array(greedy["pose"])


def compare(cases: list[Case], spacing_mm: float) -> None:
    """Ours and the naive call in turns on the same scans; prints both costs, their ratio and how far apart the poses are."""
    ours_s, naive_s = [], []
    for case in cases:
        pose, cpu_s = timed(lambda scan: register(scan.volume, scan.affine, spacing_mm, ENOUGH, SEED).mni_to_native, case.scan)
        other, other_s = timed(naive, case.scan)
        ours_s.append(cpu_s)
        naive_s.append(other_s)
        apart = distances_mm(pose, other).mean()
        print(f"  {case.name:24s} ours {cpu_s:5.2f} CPU-s   naive at 1 mm {other_s:5.2f} CPU-s   poses {apart:.2f} mm apart", flush=True)
    ours, theirs = np.mean(ours_s), np.mean(naive_s)
    print(f"ratio naive / ours: {theirs / ours:.1f} ({theirs:.2f} / {ours:.2f} CPU-s, {len(cases)} scans, once each, in turns)")
    print(f"scans per core-hour, registration only: ours {3600 / ours:.0f}, naive {3600 / theirs:.0f}")


def timed(work: Callable[[Scan], np.ndarray], scan: Scan) -> tuple[np.ndarray, float]:
    start = time.process_time()
    result = work(scan)
    return result, time.process_time() - start


def whole_stage(scans: list[Path], spacing_mm: float) -> None:
    """CPU-seconds and peak memory of the stage itself, a process of its own, on these files and the paper's grid at 1 mm.

    To be called before this process grows: Linux counts the parent's memory at the start as the child's.
    """
    own = Preprocess(registration_spacing_mm=spacing_mm, scans_per_batch=len(scans) * COPIES, intensity_percentiles=(0.0, 99.8))
    grid, values = PAPER_GRID.model_dump(mode="json"), own.model_dump(mode="json")
    with TemporaryDirectory() as folder:
        section, manifest = Path(folder) / "preprocess.json", Path(folder) / "manifest.tsv"
        copies = [Path(folder) / f"copy{index}-{path.name}" for index in range(COPIES) for path in scans]
        for index, copy in enumerate(copies):
            copy.symlink_to(scans[index % len(scans)].resolve())
        write_json(section, {"stage": "preprocess", "seed": 1, "precision": "32-true", "grid": grid, "section": values})
        lines = [f"sub-{index}\t{path}\t60\tF\ttrain" for index, path in enumerate(copies)]
        write_text(manifest, "\n".join(["participant_id\tt1w\tage_years\tsex\tsplit", *lines, ""]))
        options = {"--section": section, "--manifest": manifest, "--batch": "000", "--out": Path(folder) / "out" / "qc.tsv"}
        command = [sys.executable, "-m", "brainldm", "preprocess", *(str(word) for option in options.items() for word in option)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = (spent.ru_utime + spent.ru_stime) / len(copies)
    print(f"whole stage at 1 mm (start, read, register, resample, write; {len(copies)} scans): {cpu_s:.2f} CPU-s a scan, ", end="")
    print(f"{3600 / cpu_s:.0f} scans per core-hour, peak memory {spent.ru_maxrss / 1024:.0f} MiB", flush=True)


def write_scan(case: Case, folder: Path) -> Path:
    """Write a demo scan; its path."""
    path = folder / f"{case.name.split()[0]}.nii.gz"
    write_bytes(path, encode_native(case.scan.volume.astype(np.int16), case.scan.affine, "demo"))
    return path


def report(rows: list[Row]) -> None:
    """Medians and worst cases."""
    for field, name in (("own_mm", "own (unperturbed scan, planted pose)"), ("true_mm", "true (demo)"), ("best_mm", "best rigid (demo)")):
        errors = np.array([getattr(row, field) for row in rows])
        errors = errors[np.isfinite(errors)]
        if len(errors):
            print(f"error against {name}: median {np.median(errors):.2f} mm, worst {errors.max():.2f} mm of {len(errors)}")
    inherent = np.array([row.inherent_mm for row in rows])
    print(f"inherent, true to best rigid: median {np.nanmedian(inherent):.2f} mm, worst {np.nanmax(inherent):.2f} mm")
    cpu_s = [row.cpu_s for row in rows]
    print(f"left-right swaps: {sum(row.swapped for row in rows)} of {len(rows)}")
    print(f"CPU-seconds a scan: mean {np.mean(cpu_s):.2f}, worst {max(cpu_s):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", nargs="*", type=Path, default=[], help="NIfTI files of real T1w heads")
    parser.add_argument("--poses", type=int, default=40)
    parser.add_argument("--spacing-mm", type=float, default=2.0, help="preprocess.registration_spacing_mm")
    options = parser.parse_args()
    present = [path for path in options.scans if path.exists()]
    for path in set(options.scans) - set(present):
        print(f"left out: {path} is not there")
    if not present:
        print("no real scans (--scans): all poses are of demo scans")
    print(
        f"machine: {machine()}; registration at {options.spacing_mm:g} mm; poses up to {ROTATION_DEG} degrees, {TRANSLATION_MM} mm an axis"
    )
    with TemporaryDirectory() as folder:
        whole_stage(present or [write_scan(case, Path(folder)) for case in demo_cases(4)], options.spacing_mm)
    register(*next(demo_cases(1)).scan, options.spacing_mm, ENOUGH, SEED)  # reads the template: once per process, in no scan's time
    real = [case for path in present for case in real_cases(path)]
    demo = list(demo_cases(options.poses - len(real)))
    rows = []
    print(HEADER)
    for row in evaluate(iter(demo + real), options.spacing_mm):
        rows.append(row)
        print(LINE.format(**row._asdict()), flush=True)
    report(rows)
    compare([*demo[:2], *real[::POSES_OF_A_SCAN]], options.spacing_mm)


def machine() -> str:
    """The processor's name and how many cores this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    return f"{len(os.sched_getaffinity(0))} cores of {name}"


def _ras(array: np.ndarray, affine: np.ndarray) -> Scan:
    image = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
    return Scan(np.asarray(image.dataobj, np.float32), image.affine)


if __name__ == "__main__":
    main()
