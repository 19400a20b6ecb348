"""What a configuration will cost: half a minute of measurements on this device, then hours, disk, jobs and the end of the run."""

import datetime
import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from brainldm.core import disk_space, grid_fit
from brainldm.core.config import Config
from brainldm.core.errors import ConfigError
from brainldm.core.findings import Finding, warning
from brainldm.core.projection import Projection, check_measuring, jobs, optional_jobs, volume_seconds
from brainldm.core.rows import count_scans, shard_names
from brainldm.formats.findings_table import show, show_plan
from brainldm.formats.nifti import encode_volume, quantise
from brainldm.formats.settings import read_config
from brainldm.models import memory, timing
from brainldm.models.training import make_fabric

BUSY_BELOW = 0.7
WRITING_S = 2.0  # of measuring, at most
OF_SCANS = ("preprocess", "segment", "encode")  # folders that take as much as there are scans
LONGEST_H = 24 * 365 * 1000  # for which a date is told


def main(
    config: Annotated[Path, typer.Option(help="configuration, whole: config.yaml, a preset or a copy of one")],
    autoencoder_model: Annotated[Path | None, typer.Option("--autoencoder", help="trained checkpoint; random weights by default")] = None,
    diffusion_model: Annotated[Path | None, typer.Option("--diffusion", help="trained checkpoint; random weights by default")] = None,
    devices: Annotated[int, typer.Option(help="such devices (GPUs, or machines without) that work side by side", min=1)] = 1,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda; the configuration's by default")] = None,
    seconds: Annotated[float, typer.Option(help="for measuring; more is more exact for large networks", min=0)] = 30.0,
    measure_seconds: Annotated[float | None, typer.Option(help="of `measure` for one volume, where you know them", min=0)] = None,
    results: Annotated[Path, typer.Option(help="folder of results: its disk must hold them")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of tables")] = False,
) -> None:
    """Hours are those of generating and measuring; how long trainings take, their first steps show."""
    asked = read_config(config)
    if (fit := grid_fit.check(asked)).verdict != "ok":
        raise ConfigError(f"{config}: {fit.cause}; {fit.remedy}")
    place = device or asked.device
    if place == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: expected a GPU, found none; plan on a machine that has it, or give --device cpu")
    nets, (name, has), n_scans = memory.networks(asked), memory.device_bytes(place), _n_scans(asked)
    disk = disk_space.needed(asked, n_scans or 0, int(np.prod(nets.diffusion.latent_shape)), sum(map(memory.n_parameters, nets)))
    checks = [disk_space.check(results, disk), memory.check("generate", asked, nets, name, has)]
    threads = torch.get_num_threads() if name == "CPU" else None
    timings, share = _measure(asked, timing.trained(nets, autoencoder_model, diffusion_model), place, threads, seconds)
    volume_s = volume_seconds(asked, {work: found.seconds for work, found in timings.items()}, measure_seconds)
    plan = Projection(asked.request.n_rows, len(shard_names(asked.request.n_rows, asked.request.rows_per_shard)), devices, volume_s)
    checks += [check_measuring(plan, asked.segmenter or "the project's own segmenter"), *([_idleness(share)] if threads else [])]
    told = {"device": name, "threads": threads, "devices": devices, **_summary(plan, timings, threads), "jobs": jobs(asked, n_scans)}
    told["optional_jobs"] = optional_jobs(asked)
    told["disk_bytes"] = {folder: n_bytes for folder, n_bytes in disk.items() if n_scans is not None or folder not in OF_SCANS}
    if as_json:
        typer.echo(json.dumps({**told, "checks": [check._asdict() for check in checks]}, indent=2))
        return
    show_plan(told, Console())
    show(checks, Console())


def _measure(
    config: Config, nets: memory.Networks, place: str, threads: int | None, seconds: float
) -> tuple[dict[str, timing.Timing], float]:
    """The work on a volume, and the share of its threads' time that measuring got."""
    fabric = make_fabric(place, config.precision, config.seed)
    start, cpu_start = time.perf_counter(), time.process_time()
    timings = timing.measure(config, nets, fabric, seconds - WRITING_S)
    timings["write"] = timing.per_volume([(1.0, partial(_write, config))], WRITING_S, threads)
    return timings, (time.process_time() - cpu_start) / (time.perf_counter() - start) / (threads or 1)


def _idleness(share: float) -> Finding:
    """Whether the measurements had this machine for themselves."""
    if share >= BUSY_BELOW:
        return Finding("this machine", f"measuring had {share:.0%} of its threads")
    cause = "other work ran beside, or threads waited for one another; seconds are CPU time, so that hours are those of an idle machine"
    return warning(
        "this machine", f"measuring had {share:.0%} of its threads", cause, "plan again when it is idle; as busy as now it takes longer"
    )


def _write(config: Config) -> bytes:
    """A brain of noise: what it takes to compress follows from what is in it."""
    ball = sum(
        (axis - (side - 1) / 2) ** 2 / (side / 2.4) ** 2
        for axis, side in zip(np.indices(config.grid.shape), config.grid.shape, strict=True)
    )
    volume = np.where(np.asarray(ball) < 1, 0.6, 0.0) + np.random.default_rng(0).normal(0, 0.02, config.grid.shape)
    return encode_volume(quantise(volume), config.grid, "plan")


def _n_scans(config: Config) -> int | None:
    """Nothing where the manifest is not there yet."""
    if config.source.manifest is None:
        return config.cohort.n_subjects
    return count_scans(config.source.manifest) if Path(config.source.manifest).exists() else None


def _summary(plan: Projection, timings: dict[str, timing.Timing], threads: int | None) -> dict[str, Any]:
    """Hours on a CPU are those of cores: of a device, times its threads."""
    ends = datetime.datetime.now().astimezone() + datetime.timedelta(hours=min(plan.wall_hours, LONGEST_H))
    return {
        "n_rows": plan.n_rows,
        "n_shards": plan.n_shards,
        "work": {name: found._asdict() for name, found in timings.items()},
        "volume_seconds": plan.volume_s,
        "volumes_per_hour": plan.volumes_per_hour,
        "stage_hours": {stage: hours * (threads or 1) for stage, hours in plan.stage_hours.items()},
        "hours_of": "CPU" if threads else "GPU",
        "hours": plan.device_hours * (threads or 1),
        "wall_hours": plan.wall_hours,
        "ends": ends.isoformat(timespec="minutes"),
    }
