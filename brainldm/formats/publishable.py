"""What of an evaluation may be published: figures of many people and synthetic volumes, nothing of a single person.

This is the only list. What stands in none of its tables is private, so a figure that somebody adds to report.json stays private until
somebody adds its name here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from brainldm.formats.evaluation import LABELS, Evaluation

LEAST_SCANS = 10  # people on whom a published figure of real scans rests, at least
DIGITS = 4  # significant digits of published figures
COUNT_STEP = 10  # published counts of training scans in a cell are multiples of it

_AGREEMENT = ("r", "slope", "partial_r", "partial_slope")
_OF_VOLUMES = tuple(f"{name}_{figure}_ml" for name in ("ventricles", "brain") for figure in ("intercept", "bias", "mae"))
_OF_AGE = tuple(f"age_{figure}_years" for figure in ("intercept", "bias", "mae"))
_ALIKE = ("ms_ssim", "g4r_ssim", "g4r_ssim_single_scale", "g4r_ssim_plain")
_TARGETS = ("images", "autoencoder", "diffusion", "age")  # of attacks
_FEATURES = ("fid", "kid", "precision", "recall", "density", "coverage")
FIGURES = {  # of report.json, each with its _n and _ci; some also end in _real or _reconstruction
    *(f"{name}_{figure}" for name in ("ventricles", "brain", "age") for figure in _AGREEMENT),
    *_OF_VOLUMES,
    *_OF_AGE,
    *(f"{name}_ventricles_{figure}" for name in ("segmenter", "autoencoder") for figure in ("r", "slope")),
    *(f"{name}_ventricles_{figure}_ml" for name in ("segmenter", "autoencoder") for figure in ("intercept", "bias", "mae")),
    *("qc_pass_fraction", "rejection_rate", "sharpness"),
    *_FEATURES,
    *("fid_variance", "fid_reference"),
    *_ALIKE,
    *(f"{name}_all_pairs" for name in _ALIKE),
    *("autoencoder_psnr_db", "autoencoder_ms_ssim"),
    *("copy_rate", "copies_as_planted", "audit_false_alarms", "audit_found_altered", "audit_found_decoded", "nearest_train_ratio"),
    *(f"membership_{target}_{figure}" for target in _TARGETS for figure in ("auc", "tpr", "unusual_auc", "unusual_tpr")),
}
FACTS = {  # single entries of report.json: settings, counts and words
    *("population", "resolution", "n_synthetic", "kept_failed", "fid_features", "fid_draws", "ms_ssim_weights", "g4r_ssim_weights"),
    *("fid_reference_n_real", "nearest_train_ratio_n_held_out", "audit", "audit_limit", "released_despite_audit", "paper", "table_audit"),
    *(f"membership_{target}{end}" for target in _TARGETS for end in ("", "_attacks", "_n_others", "_control_auc")),
}
PRIVATE = {  # what report.json holds besides, and why it stays private
    "copies_as_planted_score": "a median: one training scan's own value",
    "audit_thresholds": "nobody who reads the page needs them; the protocol says them",
    "tables.ladders": "the page shows the ladders themselves",
}
WHOLE_TABLES = ("deciles", "support", "rejected", "table_attacks", "table_rates")  # of report.json's `tables`
TABLES = (*WHOLE_TABLES, "coverage", "anatomy", "membership")  # the last three only where they tell of enough people
VOLUMES = {"synthetic", "worst"}  # of images.npz, and all ladders; `real`, `near_train` and which rows resemble those stay private
SHOWN = {"synthetic", "worst", "worst_reason"}  # of shown.json, and all ladders; `held_out_ages` are single persons' values
LADDERS = ("ladder_", "beyond_")  # begin the names of ladders: synthetic volumes at round requested values
ENDS = ("_reconstruction", "_real")
REAL = (*ENDS, *_FEATURES, "autoencoder_", "segmenter_", "audit_f", "membership_")  # parts of the names of figures that rest on real scans


def publishable(found: Evaluation) -> Evaluation:
    """Return the part of an evaluation that may be published, in the form of an evaluation."""
    volumes = {name: array for name, array in found.volumes.items() if _is_listed(name.removesuffix(LABELS), VOLUMES)}
    shown = {name: value for name, value in found.shown.items() if _is_listed(name, SHOWN)}
    return Evaluation(figures(found.report), found.agreement, volumes, shown)


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of report.json that may be published, rounded; a figure of fewer than LEAST_SCANS real scans becomes None."""
    kept = {key: value for key, value in report.items() if key in FACTS or base_of(key) in FIGURES}
    few = {key for key in kept if f"{key}_n" in kept and kept[f"{key}_n"] < least(key) and any(part in key for part in REAL)}
    for key in few:
        kept[key] = None
        if f"{key}_ci" in kept:
            kept[f"{key}_ci"] = [None, None]
    public = {key: value if key == "paper" else rounded(value) for key, value in kept.items()}
    if "tables" in report:
        public["tables"] = tables(report["tables"])
    if "fid_curve" in report:
        public["fid_curve"] = _curve(report["fid_curve"])
    if "verdicts" in report:
        public["verdicts"] = {name: _verdict(row, few) for name, row in report["verdicts"].items()}
    return public


def least(key: str) -> int:
    """Return the smallest `_n` with which a figure of real scans is published; of similarities it counts pairs."""
    counts_pairs = key.startswith(_ALIKE)
    return LEAST_SCANS * (LEAST_SCANS - 1) // 2 if counts_pairs else LEAST_SCANS


def unlisted(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the entries of report.json, `tables.NAME` among them, of which this module does not say whether they may be published."""
    for key in report:
        if key not in FACTS and base_of(key) not in FIGURES and key not in PRIVATE and key not in ("tables", "fid_curve", "verdicts"):
            yield key
    for name in report.get("tables", {}):
        if name not in TABLES and f"tables.{name}" not in PRIVATE:
            yield f"tables.{name}"


def base_of(key: str) -> str:
    """Return the name of a figure without what tells its interval, its number and its kind."""
    for end in ("_ci", "_n"):
        key = key.removesuffix(end)
    for end in ENDS:
        key = key.removesuffix(end)
    return key


def tables(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables that may be published: counts of training scans in coarse steps, no region measured on too few."""
    public: dict[str, Any] = {name: rounded(found[name]) for name in WHOLE_TABLES if name in found}
    if "coverage" in found:
        public["coverage"] = [rounded({**cell, "n_train": spoken(cell["n_train"])}) for cell in found["coverage"]]
    attacks = [row for target in found.get("membership", {}).values() for row in target.values()]
    if attacks and all(min(row["auc_n"], row["n_others"]) >= LEAST_SCANS for row in attacks):
        public["membership"] = {
            target: {name: rounded(_of_enough(row)) for name, row in table.items()} for target, table in found["membership"].items()
        }
    if "table_attacks" in found:
        public["table_attacks"] = {name: rounded(_of_enough(row)) for name, row in found["table_attacks"].items()}
    if "anatomy" in found:
        enough = {name: row for name, row in found["anatomy"].items() if row["n_real"] >= LEAST_SCANS}
        public["anatomy"] = {name: rounded({**row, "n_real": coarse(row["n_real"])}) for name, row in enough.items()}
    return public


def _of_enough(attack: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of an attack, those of the unusual tenth as not computed where it is fewer than LEAST_SCANS of either kind."""
    if min(attack["unusual_auc_n"], attack["unusual_n_others"]) >= LEAST_SCANS:
        return dict(attack)
    hidden = {"unusual_auc": None, "unusual_auc_ci": [None, None], "unusual_tpr": None, "unusual_tpr_ci": [None, None]}
    return {**attack, **hidden, "unusual_tpr_chance": None}


def coarse(count: int) -> int:
    """Return a count of people, rounded down to a multiple of COUNT_STEP."""
    return int(count) // COUNT_STEP * COUNT_STEP


def spoken(count: int) -> str:
    """Return a count of people as a span of COUNT_STEP: none tells one person from nobody."""
    low = coarse(count)
    return f"{low} to {low + COUNT_STEP - 1}" if low else f"under {COUNT_STEP}"


def rounded(value: Any) -> Any:
    """Return a value of JSON with all of its numbers at DIGITS significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float) and np.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    return value


def _curve(curve: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return the points of the curve of FID that rest on enough scans."""
    enough = [place for place, n in enumerate(curve["n"]) if n >= LEAST_SCANS]
    return {name: rounded([values[place] for place in enough]) for name, values in curve.items()}


def _verdict(row: Mapping[str, Any], few: set[str]) -> dict[str, Any]:
    """Return a verdict without the numbers that rest on too few scans; limits are real scans' values with some room."""
    figure = row["figure"]
    value = None if figure in few else rounded(row["value"])
    limit = None if {f"{figure}{end}" for end in ENDS} & few else rounded(row["limit"])
    return {**row, "value": value, "limit": limit}


def _is_listed(name: str, names: set[str]) -> bool:
    return name in names or name.startswith(LADDERS)
