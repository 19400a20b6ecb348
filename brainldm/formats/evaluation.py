"""What the evaluation leaves for the report: report.json, and beside it the table of rows and the volumes that are shown."""

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainldm.core.errors import DataError
from brainldm.core.files import atomic, read_json, write_json
from brainldm.core.grid import Grid
from brainldm.core.labels import ICV, NAMES
from brainldm.core.printable import printable
from brainldm.core.regular_files import read_regular
from brainldm.formats.shard_set import ShardSet
from brainldm.formats.tables import read_parquet, read_rows, read_tsv, write_tsv
from brainldm.formats.volumes import VolumeSet

REQUESTED = ("index", "participant_id", "seed", "age_years", "sex", "ventricles_ml", "brain_ml", "in_support", "cell")
MEASURED = ("index", "ventricles_ml", "brain_ml", "icv_ml", "age_predicted_years", "qc_pass", "qc_reason")
REGIONS = {ICV, *NAMES.values()}
EMBEDDED = "the embedded demo population (deformed copies of the MNI152 template, no scans of people)"
KEEP_BYTES = 128 << 20  # small sets of scans stay in memory after their first reading
SHOWN, NEAR, WORST = 12, 4, 8  # volumes in the contact sheet (of each kind), suspected copies, failures
VIEWED = 3  # of the contact sheet, of each kind, that are shown with their segmentation, as all ladders are
REFERENCE = ("mu", "sigma", "n", "features")
MOST_REFERENCE_BYTES = 2**28  # 4,096 features have half of them
MOST_FEATURES = 10**9  # that statistics are of
LABELS = "_labels"  # ends the names of label maps


@dataclass(frozen=True)
class Evaluation:
    """Flat figures; requested and measured values of all synthetic rows; volumes [n,I,J,K] by name; what each of them is.

    Volumes lie in [0, 1] or are grey values in 8 bits; where the name ends in LABELS, they are the label maps of the first
    ones of the name before it.
    """

    report: dict[str, Any]
    agreement: pd.DataFrame
    volumes: dict[str, np.ndarray]
    shown: dict[str, Any]


@dataclass(frozen=True)
class Sets:
    """Real scans and synthetic volumes, whose requested and measured values are `table`; places of the real scans by split."""

    real: VolumeSet
    synthetic: ShardSet
    table: pd.DataFrame
    train: np.ndarray
    held_out: np.ndarray  # in random order

    @property
    def first_row(self) -> tuple[int, int]:
        """Seed and index of the first synthetic row: whose noise it starts from."""
        return int(self.table["seed"][0]), int(self.table["index"][0])


def gather(covariates: Path, requests: list[Path], shards: list[Path], measures: list[Path], grid: Grid, seed: int) -> Sets:
    """All that is compared; DataError if a table lacks some of it."""
    real, synthetic = VolumeSet(covariates, grid, keep_bytes=KEEP_BYTES), ShardSet(shards, grid)
    train, held_out = (np.flatnonzero(real.table["split"] == split) for split in ("train", "test"))
    table = synthetic_table(requests, measures, synthetic.indices).assign(
        attempt=[row["attempt"] for _, row in synthetic.rows], rejected=[" | ".join(row["rejected"]) for _, row in synthetic.rows]
    )
    return Sets(real, synthetic, table, train, np.random.default_rng([seed, 61]).permutation(held_out))


def heading(sets: Sets, embedded: bool) -> dict[str, Any]:
    """What a report is about."""
    grid = sets.real.grid
    return {
        "population": EMBEDDED if embedded else "the scans of the manifest",
        "resolution": f"{' x '.join(map(str, grid.shape))} voxels of {grid.spacing_mm:g} mm",
        "n_synthetic": len(sets.synthetic),
    }


def write(path: Path, evaluation: Evaluation) -> None:
    """Write report.json at `path`, last, so that where it stands all that lies beside it is whole."""
    write_tsv(path.with_name("agreement.tsv"), evaluation.agreement)
    with atomic(path.with_name("images.npz")) as temporary:
        packed = {name: array if name.endswith(LABELS) else _grey(array) for name, array in evaluation.volumes.items()}
        np.savez_compressed(temporary, **packed)  # type: ignore[arg-type]
    write_json(path.with_name("shown.json"), _plain(evaluation.shown))
    write_json(path, evaluation.report)


def _grey(volumes: np.ndarray) -> np.ndarray:
    """[0, 1] to 0 ... 255, one volume at a time; grey values as they are."""
    if volumes.dtype == np.uint8:
        return volumes
    return np.stack([np.rint(np.clip(volume.astype(np.float32), 0, 1) * 255).astype(np.uint8) for volume in volumes])


def _shown(volumes: VolumeSet | ShardSet, places: np.ndarray) -> np.ndarray:
    """Grey values [N,I,J,K] of some volumes."""
    return np.concatenate([_grey(volumes.batch(places[[index]])[:, 0]) for index in range(len(places))])


def read(path: Path) -> Evaluation:
    """Read what `write` wrote; DataError for whatever is missing or damaged."""
    table, volumes = read_tsv(path.with_name("agreement.tsv"), REQUESTED), _read_volumes(path.with_name("images.npz"))
    return Evaluation(read_json(path), table, volumes, read_json(path.with_name("shown.json")))


def _plain(value: Any) -> Any:
    """Arrays as lists, at any depth."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _read_volumes(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as archive:
            return {name: archive[name] if name.endswith(LABELS) else archive[name] / np.float32(255) for name in archive.files}
    except Exception as error:  # whatever a damaged file makes numpy and zipfile raise
        raise DataError(f"{path}: expected volumes as .npz, found none that can be read ({error})") from None


def pictures(
    sets: Sets, copied: np.ndarray, score: np.ndarray, ladders: dict[str, dict[str, np.ndarray]], seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Volumes that a report shows, and who they are: a contact sheet drawn at random, suspected copies, failures, ladders.

    `copied` is for each synthetic volume which of the training scans it most resembles, `score` the audit's, below 1 for a copy.
    """
    table = sets.table
    near = np.argsort(score)[:NEAR]
    missed_ml = (table["measured_ventricles_ml"] - table["ventricles_ml"]).to_numpy()
    worst = np.lexsort((-np.abs(missed_ml), table["qc_pass"]))[:WORST]
    drawn = np.random.default_rng([seed, 67]).permutation(len(table))[:SHOWN]
    from_synthetic = {"synthetic": drawn, "near_synthetic": near, "worst": worst}
    from_real = {"real": sets.held_out[:SHOWN], "near_train": sets.train[copied[near]]}
    volumes = {name: _shown(sets.synthetic, places) for name, places in from_synthetic.items()}
    volumes |= {name: _shown(sets.real, places) for name, places in from_real.items()}
    shown: dict[str, Any] = {name: table["participant_id"][places].tolist() for name, places in from_synthetic.items()}
    shown |= {name: sets.real.table["participant_id"][places].tolist() for name, places in from_real.items()}
    reasons = [table["qc_reason"][place] or f"ventricles miss the request by {missed_ml[place]:+.1f} mL" for place in worst]
    for name, ladder in ladders.items():
        volumes[name] = ladder["images"]
        shown[name] = steps(ladder)
    return volumes, {**shown, "near_score": score[near].tolist(), "worst_reason": reasons}


def steps(ladder: dict[str, np.ndarray]) -> dict[str, Any]:
    """All of a ladder but its pictures, as lists; and `slope`, measured over requested by least squares."""
    slope = float(np.polyfit(ladder["requested"], ladder["measured"], 1)[0])
    return {**{key: values.tolist() for key, values in ladder.items() if key != "images"}, "slope": slope}


def viewed(volumes: dict[str, np.ndarray], ladders: Iterable[str]) -> dict[str, np.ndarray]:
    """Those of the volumes that are shown with their segmentation."""
    return {"real": volumes["real"][:VIEWED], "synthetic": volumes["synthetic"][:VIEWED], **{name: volumes[name] for name in ladders}}


def write_reference(path: Path, mean: np.ndarray, covariance: np.ndarray, n: int, features: str) -> None:
    """Mean `mu` [D], covariance `sigma` [D, D] and number `n` of real features, and the features' name, atomically."""
    with atomic(path) as temporary:
        np.savez_compressed(temporary, mu=mean, sigma=covariance, n=n, features=features)


def read_reference(path: Path, features: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean, covariance and number that `write_reference` wrote; DataError if there are none, or they are of other features."""
    try:
        content = read_regular(path, MOST_REFERENCE_BYTES)
        _check_archive(content)
        with np.load(io.BytesIO(content)) as archive:
            arrays = [archive[name] for name in REFERENCE]
        if not all(isinstance(array, np.ndarray) for array in arrays):  # numpy gives the bytes of a member that is no array
            raise ValueError("a member of it is no array")
        mean, covariance, n, found = arrays
    except Exception as error:  # whatever a damaged file makes numpy and zipfile raise
        reason = printable(error)
        raise DataError(f"{path}: expected statistics of features (reference.npz), found none that can be read ({reason})") from None
    if found.shape or found.dtype.kind != "U" or str(found) != features:
        raise DataError(f"{path}: expected statistics of the features {features!r}, found those of {printable(found, 80)!r}")
    _check_moments(path, mean, covariance, n)
    return mean, covariance, int(n)


def _check_archive(content: bytes) -> None:
    """ValueError unless a zip holds the arrays of REFERENCE and nothing that unpacks to more than MOST_REFERENCE_BYTES."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sorted(member.filename for member in members) != sorted(f"{name}.npy" for name in REFERENCE):
            raise ValueError(f"it holds other arrays than {', '.join(REFERENCE)}")
        if sum(member.file_size for member in members) > MOST_REFERENCE_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_REFERENCE_BYTES} bytes")


def _check_moments(path: Path, mean: np.ndarray, covariance: np.ndarray, n: np.ndarray) -> None:
    """DataError unless these are a mean [D], a covariance [D,D] and the number of features that they are of, all finite."""
    kinds = (mean.dtype.kind, covariance.dtype.kind, n.dtype.kind) in {("f", "f", "i"), ("f", "f", "u")}
    if not kinds or mean.ndim != 1 or covariance.shape != mean.shape * 2 or n.shape or not 2 <= int(n) <= MOST_FEATURES:
        raise DataError(
            f"{path}: expected mu [D] and sigma [D, D] of floats and a number n of at least 2, "
            f"found shapes {mean.shape}, {covariance.shape} and {n.shape}. Take the reference.npz that an evaluation wrote."
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise DataError(f"{path}: mu or sigma holds numbers that are not finite. Take the reference.npz that an evaluation wrote.")


def regions(measures: list[Path], indices: list[int]) -> dict[str, np.ndarray]:
    """Volumes [N] in mL of all regions that were segmented in the rows `indices`, by SynthSeg's name."""
    first = read_parquet(measures[0])
    names = tuple(name for name in first.columns if name in REGIONS)
    return {name: values.to_numpy(float) / 1000 for name, values in read_rows(measures, ("index", *names), indices).items()}


def synthetic_table(requests: list[Path], measures: list[Path], indices: list[int]) -> pd.DataFrame:
    """Requested and measured values (`measured_...`) of the rows `indices`, in that order; DataError if a table lacks one of them."""
    requested = read_rows(requests, REQUESTED, indices)
    measured = read_rows(measures, MEASURED, indices)
    return requested.join(measured.rename(columns={name: f"measured_{name}" for name in MEASURED if name.endswith("_ml")})).reset_index()


def true_volumes(truth: Path, scans: pd.DataFrame) -> pd.DataFrame:
    """The scans of which the true volumes are known, with their `true_ventricles_ml`; DataError if there are none."""
    known = read_tsv(truth, ("participant_id", "ventricles_ml")).set_index("participant_id")["ventricles_ml"].rename("true_ventricles_ml")
    joined = scans.join(known, on="participant_id", how="inner")
    if joined.empty:
        raise DataError(f"{truth}: expected true volumes of the held-out scans, found none of theirs")
    return joined
