"""Score the synthetic volumes beside the real ones (Pinaya et al. 2022, section 3): one report.json, a table and pictures."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer

from brainldm.core import paper
from brainldm.core.config import Evaluate, Given, read_section
from brainldm.core.covariates import covariate_array
from brainldm.formats import evaluation
from brainldm.formats.shard_set import ShardSet
from brainldm.formats.volumes import VolumeSet
from brainldm.metrics import g4r, ssim, summary
from brainldm.metrics.diversity import diversity
from brainldm.metrics.nearest import nearest_distance, nearest_references
from brainldm.models import latents as cache
from brainldm.models import panel
from brainldm.models.training import make_fabric

RECONSTRUCTED = 128  # held-out scans at most that pass through the autoencoder; all are kept in memory
EMBEDDED = "the embedded demo population (deformed copies of the MNI152 template, no scans of people)"
FID_FEATURES = "age model, last block, mean over space"


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates of the real scans")],
    latents: Annotated[Path, typer.Option(help="manifest of the cached latents of the real scans")],
    request: Annotated[list[Path], typer.Option(help="request table of a shard; repeat for every shard")],
    shard: Annotated[list[Path], typer.Option(help="manifest of a shard; repeat for every shard")],
    measure: Annotated[list[Path], typer.Option(help="measured table of a shard; repeat for every shard")],
    segmenter: Annotated[Path, typer.Option(help="what measures volumes (models.ruler)")],
    age: Annotated[Path, typer.Option(help="age model checkpoint")],
    autoencoder: Annotated[Path, typer.Option(help="autoencoder checkpoint")],
    diffusion: Annotated[Path, typer.Option(help="diffusion checkpoint")],
    out: Annotated[Path, typer.Option(help="report.json to write; a table and pictures go beside it")],
    truth: Annotated[Path | None, typer.Option(help="true volumes, of the embedded population")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Volumes stream from their files; every random choice follows from the seed."""
    given = read_section(section, "evaluate")
    options, fabric = given.own(Evaluate), make_fabric(device, given.precision, given.seed)
    nets = panel.load(segmenter, age, autoencoder, diffusion, given.grid, fabric, options.batch_size)
    real, synthetic = VolumeSet(covariates, given.grid), ShardSet(shard, given.grid)
    means = cache.load(latents, real.table["participant_id"].tolist()).means()
    table = evaluation.synthetic_table(request, measure, synthetic.indices)
    train, held_out = (np.flatnonzero(real.table["split"] == split) for split in ("train", "test"))
    held_out = np.random.default_rng([given.seed, 61]).permutation(held_out)
    ours = nets.encode(synthetic.batch, len(synthetic), "synthetic volumes")
    theirs = nets.describe(real.batch, len(real), "real scans")
    ages = {"true": real.table["age_years"].to_numpy()[held_out], "predicted": theirs["age_predicted_years"][held_out]}
    flat = means.reshape(len(means), -1)
    (distance, neighbour), from_held_out = nearest_reference(ours["mu"], flat[train]), nearest_distance(flat[held_out], flat[train])
    report = {
        "population": EMBEDDED if truth else "the scans of the manifest",
        "resolution": f"{' x '.join(map(str, given.grid.shape))} voxels of {given.grid.spacing_mm:g} mm",
        "n_synthetic": len(synthetic),
        **_control(table, ages, real.table.iloc[held_out], truth, given),
        **summary.fid(theirs["features"], ours["features"], given.seed),
        "fid_features": FID_FEATURES,
        **_likeness(nets, real, synthetic, means, held_out[:RECONSTRUCTED], given),
        **summary.nearness(distance, from_held_out, options.bootstrap, given.seed),
        "paper": paper.block(),
    }
    volumes, shown = evaluation.pictures(
        real, synthetic, table, held_out, (train[neighbour], distance / np.median(from_held_out)), given.seed
    )
    people, key = covariate_array(real.table.iloc[train]), (int(table["seed"][0]), int(table["index"][0]))
    for name in ("ventricles_ml", "age_years"):
        ladder = nets.ladder(name, people, options.ladder_steps, key, synthetic.sampling)
        volumes[f"ladder_{name}"] = ladder.pop("images")
        shown[f"ladder_{name}"] = ladder
    evaluation.write(out, evaluation.Evaluation(report, table, volumes, {**shown, "held_out_ages": ages}))


def _control(table: pd.DataFrame, ages: dict[str, np.ndarray], held_out: pd.DataFrame, truth: Path | None, given: Given) -> dict[str, Any]:
    """Requested against measured; and how right the rulers are: the age model, and where the truth is known, the segmenter."""
    obey = partial(summary.obedience, bootstrap=given.own(Evaluate).bootstrap, seed=given.seed)
    entries = {
        **obey("ventricles", "ml", table["ventricles_ml"], table["measured_ventricles_ml"]),
        **obey("brain", "ml", table["brain_ml"], table["measured_brain_ml"]),
        **obey("age", "years", table["age_years"], table["age_predicted_years"]),
        **obey("age", "years", ages["true"], ages["predicted"], kind="real"),
        **summary.entry("qc_pass_fraction", table["qc_pass"].mean(), len(table)),
    }
    if truth is None:
        return entries
    known = evaluation.true_volumes(truth, held_out)
    return {**entries, **obey("segmenter_ventricles", "ml", known["true_ventricles_ml"], known["ventricles_ml"])}


def _likeness(
    nets: panel.Panel, real: VolumeSet, synthetic: ShardSet, means: np.ndarray, sample: np.ndarray, given: Given
) -> dict[str, Any]:
    """How alike volumes of a set are; and what of it the autoencoder's blur explains, on the sample of held-out scans."""
    options, shape = given.own(Evaluate), given.grid.shape
    alike = partial(diversity, n_pairs=options.ssim_pairs, bootstrap=options.bootstrap, seed=given.seed, device=nets.device)
    again = nets.reconstruct(lambda places: means[sample[places]].astype(np.float32), len(sample), "reconstructions")
    original_ml = real.table["ventricles_ml"].to_numpy()[sample]
    return {
        "ms_ssim_weights": ssim.scale_weights(shape),
        "g4r_ssim_weights": g4r.scale_weights(shape),
        **alike(synthetic.batch, len(synthetic)),
        **alike(real.batch, len(real), kind="real"),
        **alike(lambda places: again["images"][places], len(sample), kind="reconstruction"),
        **summary.mean_of("autoencoder_psnr_db", summary.psnr_db(again["images"], real.batch(sample)), options.bootstrap, given.seed),
        **summary.mean_of("autoencoder_ms_ssim", _ms_ssim(again["images"], real.batch(sample), nets.device), options.bootstrap, given.seed),
        **summary.obedience("autoencoder_ventricles", "ml", original_ml, again["ventricles_ml"], options.bootstrap, given.seed),
    }


def _ms_ssim(images: np.ndarray, references: np.ndarray, device: torch.device) -> np.ndarray:
    """MS-SSIM [N] of images [N,1,I,J,K] with their references; one at a time on the device."""
    pairs = zip(torch.from_numpy(images).split(1), torch.from_numpy(references).split(1), strict=True)
    return np.concatenate([ssim.ms_ssim(x.to(device), y.to(device)).cpu().numpy() for x, y in pairs])
