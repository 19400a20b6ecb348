"""From seconds for one volume to a run of all: jobs of every stage, hours, and when it ends."""

import math
from dataclasses import dataclass

from brainldm.core.config import AS_PUBLISHED, Config
from brainldm.core.findings import Finding, warning
from brainldm.core.request_key import PLACE
from brainldm.core.rows import batch_names, shard_names
from brainldm.core.story import BASELINES, STORY

VIEWS = 5  # of a volume, by which the age model tells how unsure it is
BY_BATCH, BY_SHARD = ("preprocess", "segment"), ("request", "generate", "measure", "pack")


@dataclass(frozen=True)
class Projection:
    """What the synthetic rows take; `volume_s` are seconds for one volume by stage, as far as they are known."""

    n_rows: int
    n_shards: int
    n_devices: int
    volume_s: dict[str, float]

    @property
    def stage_hours(self) -> dict[str, float]:
        """Hours of one device, by stage."""
        return {stage: self.n_rows * seconds / 3600 for stage, seconds in self.volume_s.items()}

    @property
    def device_hours(self) -> float:
        """Of all stages."""
        return sum(self.stage_hours.values())

    @property
    def wall_hours(self) -> float:
        """From start to end: whole shards, shared among the devices."""
        return math.ceil(self.n_shards / self.n_devices) / self.n_shards * self.device_hours

    @property
    def volumes_per_hour(self) -> float:
        """That all devices generate together."""
        return 3600 * self.n_devices / self.volume_s["generate"]


def volume_seconds(config: Config, work_s: dict[str, float], measure_s: float | None = None) -> dict[str, float]:
    """Seconds for one volume by stage, from those of its work: denoise (one evaluation), decode, write, segment, age.

    Where volumes are judged, these are of one that passes at once: how many do not is not known. `measure` is missing where segmenting
    was not timed, unless `measure_s` says what it takes.
    """
    evaluations = config.generate.steps * (1 if config.generate.guidance == 1 else 2)
    generate_s = evaluations * work_s["denoise"] + work_s["decode"] + work_s["write"]
    if measure_s is None and "segment" in work_s:
        measure_s = work_s["segment"] + VIEWS * work_s["age"]
    if measure_s is None:
        return {"generate": generate_s}
    judged = {"generate (judging)": measure_s} if config.generate.attempts > 1 else {}
    return {"generate": generate_s, **judged, "measure": measure_s}


def optional_jobs(config: Config) -> dict[str, int]:
    """Jobs that `snakemake paper_table` and `snakemake utility` add to a run, by stage."""
    asked, table = (set(shard_names(n, config.request.rows_per_shard)) for n in (config.request.n_rows, config.paper_table.n_volumes))
    rows = len(BASELINES) + len(AS_PUBLISHED)
    return {"paper_table": 1 + len(BASELINES) + rows * len(table) + len(table - asked), "utility": 3 * config.utility.repeats}


def jobs(config: Config, n_scans: int | None) -> dict[str, int]:
    """Jobs that Snakemake plans for a run from the start, by stage; those of every batch of scans only where their number is known."""
    counts = dict.fromkeys(STORY, 1) | dict.fromkeys(BY_SHARD, len(shard_names(config.request.n_rows, config.request.rows_per_shard)))
    batches = 0 if n_scans is None else len(batch_names(n_scans, config.preprocess.scans_per_batch))
    counts |= dict.fromkeys(BY_BATCH, batches)
    if config.request_key == PLACE:
        counts["request_key"] = 1
    if config.source.kind == "manifest" and config.train_segmenter.label_maps:
        del counts["cohort"]  # else its label maps train the segmenter
    return {stage: count for stage, count in counts.items() if count}


def check_measuring(projection: Projection, segmenter: str) -> Finding:
    """Whether measuring every volume takes longer than generating it."""
    hours, name = projection.stage_hours, "measuring"
    if "measure" not in hours:
        remedy = "time a few volumes and give --measure-seconds"
        return warning(name, "not timed", f"{segmenter} is a program of its own; its hours are missing in the total", remedy)
    found = f"{hours['measure']:.3g} h, generating {hours['generate']:.3g} h"
    if hours["measure"] <= hours["generate"]:
        return Finding(name, found)
    remedy = "set segmenter to null (the project's own network), or measure on more devices, or ask for fewer rows"
    return warning(name, found, f"measuring all rows by {segmenter} costs more than generating them", remedy)
