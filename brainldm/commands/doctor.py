"""Check a configuration, its scans, weights and hardware before days are spent."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from brainldm.core import disk_space, grid_fit
from brainldm.core.config import Config
from brainldm.core.covariates import covariate_array
from brainldm.core.errors import BrainLDMError, ConfigError
from brainldm.core.findings import Finding, error, has_errors, size, warning
from brainldm.formats import scan_check
from brainldm.formats.findings_table import show
from brainldm.formats.manifest import Entry
from brainldm.formats.settings import read_config
from brainldm.formats.volumes import VolumeSet
from brainldm.imaging.unires import find_interpreter
from brainldm.metrics.summary import psnr_db
from brainldm.models import autoencoder, diffusion, latents_check, memory, weights_check
from brainldm.models import latents as cache

N_MEAN = 16  # scans at most whose mean a reconstruction must surpass
GAIN_DB = 1.0  # by this much; ours
WEIGHTS = (".h5", ".safetensors")


def main(
    config: Annotated[Path, typer.Option(help="configuration, whole: config.yaml, a preset or a copy of one")],
    weights: Annotated[list[Path] | None, typer.Option(help="checkpoint (.safetensors) or SynthSeg weights (.h5); repeat for each")] = None,
    sample: Annotated[int, typer.Option(help="scans of the manifest to read", min=0)] = 5,
    results: Annotated[Path, typer.Option(help="folder of results, what there is so far")] = Path("results"),
    memory_gb: Annotated[float | None, typer.Option(help="memory of the device the jobs run on, where that is not this machine's")] = None,
) -> None:
    """Print a table of findings, with cause and remedy of each that is not well; exit with status 1 if one is an error."""
    logging.disable(logging.WARNING)  # what readers say of single scans stands in the table
    try:
        findings = list(examine(config, weights or [], sample, results, memory_gb))
    finally:
        logging.disable(logging.NOTSET)
    show(findings, Console())
    raise typer.Exit(1 if has_errors(findings) else 0)


def examine(path: Path, weights: list[Path], sample: int, results: Path, memory_gb: float | None) -> Iterator[Finding]:
    """Every finding, cheapest first."""
    try:
        config = read_config(path)
        grid = grid_fit.check(config)
        nets = memory.networks(config) if grid.verdict == "ok" else None
    except (ConfigError, ValueError) as fault:  # the latter is MONAI's, of numbers that make no network
        yield error("configuration", str(path), str(fault), "correct the keys named; config.yaml and workflow/presets show every one")
        return
    yield from (Finding("configuration", str(path)), grid)
    if nets is None:
        return
    yield from tools(config)
    yield from device(config, nets, memory_gb)
    manifest, entries = scans(config, results)
    yield from manifest
    for place in scan_check.places(len(entries), sample):
        yield from scan_check.check_scan(entries[place].t1w, config)
    named = [Path(config.segmenter)] if config.segmenter and config.segmenter.endswith(WEIGHTS) else []
    for file in [*named, *weights, *sorted(results.glob("train_*/model.safetensors"))]:
        yield weights_check.check(file, nets)
    yield from made_so_far(config, nets, results)
    size, n_parameters = int(np.prod(nets.diffusion.latent_shape)), sum(map(memory.n_parameters, nets))
    n_scans = len(entries) or config.cohort.n_subjects
    yield disk_space.check(results, disk_space.needed(config, n_scans, size, n_parameters))


def tools(config: Config) -> Iterator[Finding]:
    """The programs that the configuration names."""
    if config.preprocess.backend == "unires":
        try:
            yield Finding("UniRes", str(find_interpreter(config.preprocess.unires_command)))
        except ConfigError as fault:
            yield error("UniRes", "not found", str(fault), "install it as docs/registration.md tells, or set preprocess.backend: greedy")
    if config.segmenter and not config.segmenter.endswith(WEIGHTS):
        if found := shutil.which(config.segmenter):
            yield Finding("segmenter", found)
        else:
            cause = f"segmenter: expected weights (.h5, .safetensors) or an executable, found none at {config.segmenter!r}"
            yield error(
                "segmenter", "not found", cause, "give the whole path of FreeSurfer's mri_synthseg or of the weights, or set it to null"
            )


def device(config: Config, nets: memory.Networks, memory_gb: float | None) -> Iterator[Finding]:
    """The device, and what every training would take of its memory."""
    if config.device == "cuda" and memory_gb is None and not torch.cuda.is_available():
        remedy = "set device: auto, or give --memory-gb of the GPU that the jobs run on, if that is another machine's"
        yield error("device", "no GPU", "device is cuda, and torch finds none on this machine", remedy)
    name, has = memory.device_bytes(config.device) if memory_gb is None else ("as given", int(memory_gb * 1e9))
    for stage in memory.STAGES:
        yield memory.check(stage, config, nets, name, has)


def scans(config: Config, results: Path) -> tuple[list[Finding], list[Entry]]:
    """The manifest and its scans, where there is one yet."""
    path = Path(config.source.manifest) if config.source.manifest else results / "cohort/manifest.tsv"
    if config.source.kind == "cohort" and not path.exists():
        return [Finding("manifest", f"none yet: {config.cohort.n_subjects} scans of the embedded population will be made")], []
    return scan_check.check_manifest(path, config)


def made_so_far(config: Config, nets: memory.Networks, results: Path) -> Iterator[Finding]:
    """The autoencoder on one scan, and the latents, as far as the run has come."""
    covariates, latents = results / "covariates/covariates.tsv", results / "encode/latents.json"
    coder, denoiser = (results / stage / "model.safetensors" for stage in ("train_autoencoder", "train_diffusion"))
    try:
        if covariates.exists() and coder.exists():
            yield reconstruction(autoencoder.load(coder), VolumeSet(covariates, config.grid), nets)
        if covariates.exists() and latents.exists():
            table = VolumeSet(covariates, config.grid).table
            mu, sigma = cache.load(latents, table["participant_id"].tolist()).batch(range(len(table)))
            yield latents_check.check(mu, sigma)
            if denoiser.exists():
                network, trained = diffusion.load(denoiser), (table["split"] == "train").tolist()
                conditions = torch.from_numpy(network.ranges.scale(covariate_array(table[trained], str(covariates))))
                yield latents_check.check_scale(network, mu[torch.tensor(trained)], conditions)
    except BrainLDMError as fault:
        yield error("results", "cannot be used", str(fault), f"remove the file named, or the folder {results}; the run makes it again")


def reconstruction(network: autoencoder.Autoencoder, volumes: VolumeSet, nets: memory.Networks) -> Finding:
    """PSNR of one scan that went through the autoencoder, a held-out one where there is any; on the CPU."""
    name, (_, has) = "autoencoder PSNR", memory.device_bytes("cpu")
    if tuple(network.spec["shape"]) != volumes.grid.shape:
        cause = f"the autoencoder is of a grid of {network.spec['shape']} voxels, the configuration's has {list(volumes.grid.shape)}"
        return error(name, "of another grid", cause, "train the autoencoder again, or set grid as it was")
    if (need := memory.generation_bytes(nets, 1)) > has:
        return warning(
            name, "not computed", f"decoding takes about {size(need)}, this machine has {size(has)}", "run it on a larger machine"
        )
    place = int((volumes.table["split"] == "test").to_numpy().argmax())
    image = volumes.batch(range(place, place + 1))
    with torch.inference_mode():
        again = network.decode(network.encode(torch.from_numpy(image))[0]).clamp(0, 1).numpy()
    others = np.flatnonzero(np.arange(len(volumes)) != place)[:N_MEAN]
    found, baseline = (float(psnr_db(shown, image)[0]) for shown in (again, volumes.batch(others).mean(0, keepdims=True)))
    shown = f"{found:.1f} dB ({volumes.table['participant_id'][place]}); the mean of {len(others)} other scans: {baseline:.1f} dB"
    if found >= baseline + GAIN_DB:
        return Finding(name, shown)
    cause = "a reconstruction shows hardly more than the mean brain: the autoencoder was trained too shortly, or on other intensities"
    return warning(name, shown, cause, "raise train_autoencoder.steps, or look at the losses in train_autoencoder/log.csv")
