"""What the evaluation leaves for the report: report.json, and beside it the table of rows and the volumes that are shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainldm.core.errors import DataError
from brainldm.core.files import atomic, read_json, write_json
from brainldm.formats.shard_set import ShardSet
from brainldm.formats.tables import read_parquet, read_tsv, write_tsv
from brainldm.formats.volumes import VolumeSet

REQUESTED = ("index", "participant_id", "seed", "age_years", "sex", "ventricles_ml", "brain_ml")
MEASURED = ("index", "ventricles_ml", "brain_ml", "icv_ml", "age_predicted_years", "qc_pass", "qc_reason")
SHOWN, NEAR, WORST = 12, 4, 8  # volumes in the contact sheet (of each kind), suspected copies, failures


@dataclass(frozen=True)
class Evaluation:
    """Flat figures; requested and measured values of all synthetic rows; volumes [n,I,J,K] in [0, 1] by name; what each of them is."""

    report: dict[str, Any]
    agreement: pd.DataFrame
    volumes: dict[str, np.ndarray]
    shown: dict[str, Any]


def write(path: Path, evaluation: Evaluation) -> None:
    """Write report.json at `path`, last, so that where it stands all that lies beside it is whole."""
    write_tsv(path.with_name("agreement.tsv"), evaluation.agreement)
    with atomic(path.with_name("images.npz")) as temporary:
        packed = {name: np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8) for name, array in evaluation.volumes.items()}
        np.savez_compressed(temporary, **packed)  # type: ignore[arg-type]
    write_json(path.with_name("shown.json"), _plain(evaluation.shown))
    write_json(path, evaluation.report)


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
            return {name: archive[name] / np.float32(255) for name in archive.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected volumes as .npz, found none that can be read ({error})") from None


def pictures(
    real: VolumeSet, synthetic: ShardSet, table: pd.DataFrame, held_out: np.ndarray, nearest: tuple[np.ndarray, np.ndarray], seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Volumes that a report shows, and who they are: a contact sheet drawn at random, suspected copies, failures.

    `table` has the synthetic rows, `held_out` the places of real scans in random order, `nearest` for each synthetic volume the place
    of its nearest training scan and its distance over that of held-out scans.
    """
    neighbour, ratio = nearest
    near = np.argsort(ratio)[:NEAR]
    missed_ml = (table["measured_ventricles_ml"] - table["ventricles_ml"]).to_numpy()
    worst = np.lexsort((-np.abs(missed_ml), table["qc_pass"]))[:WORST]
    drawn = np.random.default_rng([seed, 67]).permutation(len(table))[:SHOWN]
    from_synthetic = {"synthetic": drawn, "near_synthetic": near, "worst": worst}
    from_real = {"real": held_out[:SHOWN], "near_train": neighbour[near]}
    volumes = {name: synthetic.batch(places)[:, 0] for name, places in from_synthetic.items()}
    volumes |= {name: real.batch(places)[:, 0] for name, places in from_real.items()}
    shown: dict[str, Any] = {name: table["participant_id"][places].tolist() for name, places in from_synthetic.items()}
    shown |= {name: real.table["participant_id"][places].tolist() for name, places in from_real.items()}
    reasons = [table["qc_reason"][place] or f"ventricles miss the request by {missed_ml[place]:+.1f} mL" for place in worst]
    return volumes, {**shown, "near_ratio": ratio[near].tolist(), "worst_reason": reasons}


def synthetic_table(requests: list[Path], measures: list[Path], indices: list[int]) -> pd.DataFrame:
    """Requested and measured values (`measured_...`) of the rows `indices`, in that order; DataError if a table lacks one of them."""
    requested = _rows(requests, REQUESTED, indices)
    measured = _rows(measures, MEASURED, indices)
    return requested.join(measured.rename(columns={name: f"measured_{name}" for name in MEASURED if name.endswith("_ml")})).reset_index()


def true_volumes(truth: Path, scans: pd.DataFrame) -> pd.DataFrame:
    """The scans of which the true volumes are known, with their `true_ventricles_ml`; DataError if there are none."""
    known = read_tsv(truth, ("participant_id", "ventricles_ml")).set_index("participant_id")["ventricles_ml"].rename("true_ventricles_ml")
    joined = scans.join(known, on="participant_id", how="inner")
    if joined.empty:
        raise DataError(f"{truth}: expected true volumes of the held-out scans, found none of theirs")
    return joined


def _rows(paths: list[Path], columns: tuple[str, ...], indices: list[int]) -> pd.DataFrame:
    table = pd.concat([read_parquet(path, columns) for path in paths])[list(columns)].set_index("index")
    missing = sorted(set(indices) - set(table.index))
    if missing:
        raise DataError(f"{', '.join(map(str, paths))}: expected the rows of all shards, found none for {missing[:10]}")
    return table.loc[indices]
