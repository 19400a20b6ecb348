"""The frozen protocol of an evaluation: settings, definitions and weights in one YAML file, by which others score other volumes alike."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from lightning_fabric import Fabric
from pydantic import Field

from brainldm.core.config import Given, Preprocess, read_section
from brainldm.core.errors import ConfigError, DataError
from brainldm.core.files import sha256, write_text
from brainldm.core.grid import Grid
from brainldm.core.judging import Evaluate, Measure
from brainldm.core.printable import printable
from brainldm.core.regular_files import file_inside
from brainldm.core.schema import HASH, Precision, Schema, checked
from brainldm.core.yaml_file import read_yaml
from brainldm.metrics.definitions import INTENSITIES, definitions
from brainldm.models import devices, panel

SECTIONS = ("evaluate", "measure", "preprocess")  # whose settings it holds
PRIVATE = ("features", "reference", "unires_command")  # settings that are places on the machine that wrote it
FORMAT = 1
WITH_R = ("_slope", "_intercept", "_bias", "_mae")  # figures of the same volumes as r, whose n says it all
HEAD = "# How the figures beside it were computed. Score other volumes alike: brainldm score DIR --protocol THIS_FILE --models RESULTS\n"
Settings = Mapping[str, Given]


Text = Annotated[str, Field(max_length=1000)]


class ProtocolFile(Schema):
    """What `freeze` writes, and nothing else."""

    protocol: Literal[1]
    made_with: dict[Text, Text]
    seed: int = Field(ge=0)
    precision: Precision
    grid: Grid
    intensities: Text
    evaluate: Evaluate
    measure: Measure
    preprocess: Preprocess
    features: Text
    sha256: dict[Literal["segmenter", "age", "reference", "features"], Annotated[str, Field(pattern=HASH)]]
    n: dict[Text, int]
    audit_thresholds: dict[Text, float]
    ladders: dict[Text, object]
    metrics: dict[Text, object]


class Protocol(NamedTuple):
    """A protocol, read: settings by stage, and the SHA-256 of the files that measure, by name."""

    path: Path
    settings: Settings
    files: Mapping[str, str]


def settings(folder: Path) -> Settings:
    """What the stages of a run were told about measuring, from its results."""
    return {stage: read_section(file_inside(folder, f"configure/{stage}.json"), stage) for stage in SECTIONS}


def freeze(report_path: Path, sections: Iterable[Path], fabric: Fabric, segmenter: Path, age: Path, report: Mapping[str, Any]) -> None:
    """Write protocol.yaml beside a report; `sections` are files of SECTIONS in that order, the models are what measured."""
    told = {stage: read_section(path, stage) for stage, path in zip(SECTIONS, sections, strict=True)}
    given, sizes = told["evaluate"], {key: n for key, n in report.items() if key.endswith("_n") and not any(part in key for part in WITH_R)}
    features, files = (
        given.own(Evaluate).features,
        {"segmenter": segmenter, "age": age, "reference": report_path.with_name("reference.npz")},
    )
    if features != "age":
        files["features"] = Path(features)
    found = {
        "protocol": FORMAT,
        "made_with": devices.versions(),
        "seed": given.seed,
        "precision": fabric.strategy.precision.precision,
        "grid": given.grid.model_dump(mode="json"),
        "intensities": INTENSITIES,
        **{stage: {key: value for key, value in own.section.items() if key not in PRIVATE} for stage, own in told.items()},
        "features": report["fid_features"],
        "sha256": {name: sha256(file) for name, file in files.items()},
        "n": {"synthetic": report["n_synthetic"], **{key.removesuffix("_n"): n for key, n in sizes.items()}},
        "audit_thresholds": report["audit_thresholds"],
        "ladders": {"within_percentiles": list(panel.PERCENTILES), "beyond_min_max": {name: list(at) for name, at in panel.BEYOND.items()}},
        "metrics": definitions(given.grid.shape),
    }
    write_text(report_path.with_name("protocol.yaml"), HEAD + yaml.safe_dump(found, sort_keys=False, width=120, default_flow_style=None))


def read(path: Path) -> Protocol:
    """Return a protocol; DataError, naming the field, for what `freeze` does not write, and where its metrics are not this version's.

    It may be a stranger's: it holds numbers and names, never a program, a path or a module, which are named on the command line.
    """
    try:
        values = read_yaml(path)
    except ConfigError as error:
        raise DataError(str(error)) from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected a protocol that evaluate wrote, found {type(values).__name__}")
    for stage, name in ((stage, name) for stage in SECTIONS for name in PRIVATE):
        if isinstance(values.get(stage), dict) and name in values[stage]:
            raise DataError(f"{path}: {stage}.{name} names a file or a program. A protocol may name none; remove the line.")
    found = checked(ProtocolFile, values, f"{path} as a protocol")
    shared = {"seed": found.seed, "precision": found.precision, "grid": found.grid}
    told = {stage: Given(stage=stage, section=values[stage], **shared) for stage in SECTIONS}
    try:
        ours = definitions(found.grid.shape)
    except DataError as error:
        raise DataError(f"Cannot use {path} as a protocol: {error}") from None
    if differs := _difference(found.metrics, ours):
        version = printable(found.made_with.get("brainldm", "unknown"), 40)
        raise DataError(f"{path}: expected metrics as this version computes them, found another {differs}; take brainldm {version}")
    return Protocol(path, told, {str(name): digest for name, digest in found.sha256.items()})


def check(found: Protocol, name: str, file: Path) -> None:
    """ConfigError unless `file` is what the protocol calls `name`."""
    if (digest := sha256(file)) != found.files.get(name):
        wanted = f"with SHA-256 {found.files[name]}" if name in found.files else "none"
        raise ConfigError(f"{found.path}: expected as {name} the file {wanted}, found {digest} ({file})")


def _difference(theirs: object, ours: object, name: str = "metrics") -> str:
    """The dotted name of the first value that differs, or nothing."""
    if not (isinstance(theirs, dict) and isinstance(ours, dict)):
        return "" if theirs == ours else name
    keys = [*ours, *(key for key in theirs if key not in ours)]
    named = ((key, f"{name}.{printable(key, 60)}") for key in keys)
    return next((found for key, dotted in named if (found := _difference(theirs.get(key), ours.get(key), dotted))), "")
