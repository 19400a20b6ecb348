"""Score the synthetic volumes beside the real ones (Pinaya et al. 2022, section 3): one report.json, a table and pictures."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from brainldm import attacks, protocol
from brainldm.core import paper
from brainldm.core.config import Evaluate, read_section
from brainldm.core.covariates import covariate_array
from brainldm.core.files import sha256
from brainldm.formats import evaluation, parts
from brainldm.metrics import anatomy, audit, conditioning, fidelity, frechet, membership, summary
from brainldm.metrics.diversity import diversity, reconstruction, scales
from brainldm.metrics.nearest import Chosen, Rows
from brainldm.metrics.sharpness import sharpness
from brainldm.metrics.summary import Entries
from brainldm.metrics.table_audit import Table, audit_table
from brainldm.metrics.verdicts import verdicts
from brainldm.models import latents as cache
from brainldm.models import panel
from brainldm.models.training import make_fabric

Arrays = dict[str, np.ndarray]
RECONSTRUCTED = 128  # held-out scans at most that pass through the autoencoder
SEGMENTED = 1000  # real scans at most whose regions are measured


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    measuring: Annotated[Path, typer.Option(help="section file of measure, for the protocol")],
    preprocess: Annotated[Path, typer.Option(help="section file of preprocess, for the protocol")],
    covariates: Annotated[Path, typer.Option(help="table of covariates of the real scans")],
    latents: Annotated[Path, typer.Option(help="manifest of the cached latents of the real scans")],
    request: Annotated[list[Path], typer.Option(help="request table of a shard; repeat for every shard")],
    shard: Annotated[list[Path], typer.Option(help="manifest of a shard; repeat for every shard")],
    measure: Annotated[list[Path], typer.Option(help="measured table of a shard; repeat for every shard")],
    segmenter: Annotated[Path, typer.Option(help="what measures volumes (models.ruler)")],
    age: Annotated[Path, typer.Option(help="age model checkpoint")],
    autoencoder: Annotated[Path, typer.Option(help="autoencoder checkpoint")],
    diffusion: Annotated[Path, typer.Option(help="diffusion checkpoint")],
    out: Annotated[Path, typer.Option(help="report.json to write; a table, reference statistics and pictures go beside it")],
    truth: Annotated[Path | None, typer.Option(help="true volumes, of the embedded population")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Volumes stream from their files; every random choice follows from the seed; a run that is killed goes on where it was."""
    given = read_section(section, "evaluate")
    options, fabric, seed = given.own(Evaluate), make_fabric(device, given.precision, given.seed), given.seed
    nets = panel.load(segmenter, age, autoencoder, diffusion, given.grid, fabric, options)
    sets = evaluation.gather(covariates, request, shard, measure, given.grid, seed)
    means = cache.load(latents, sets.real.table["participant_id"].tolist())
    made_from = [sha256(path) for path in (section, covariates, latents, *request, *shard, *measure, segmenter, age, autoencoder)]
    keep = parts.Parts(out.parent / "work", cache.fingerprint(made_from, nets.features_name))
    found = _look(nets, sets, means, options, seed, keep)
    ours, theirs = found.synthetic, found.real
    told, attack_table = attacks.conduct(found.attacked, ours, found.planted, nets, sets.real.batch, means.means, seed)
    train, held_out = (sets.real.table.iloc[places] for places in (sets.train, sets.held_out))
    ages = {"true": held_out["age_years"].to_numpy(), "predicted": theirs["age_predicted_years"][sets.held_out]}
    table = audit_table(Table.of(sets.table), *(covariate_array(split) for split in (train, held_out)))
    report = {
        **evaluation.heading(sets, embedded=truth is not None),
        **conditioning.conditioning(sets.table, held_out.assign(age_predicted_years=ages["predicted"]), options.bootstrap, seed),
        **(conditioning.ruler(evaluation.true_volumes(truth, held_out), options.bootstrap, seed) if truth else {}),
        **_features(ours["features"], theirs["features"], nets.features_name, options.reference, out, seed),
        **summary.means_of({"sharpness": ours["sharpness"], "sharpness_real": theirs["sharpness"][sets.held_out]}, options.bootstrap, seed),
        **_likeness(nets, sets, means, options, seed, keep),
        **found.audit,
        **told,
        "table_audit": table.verdict,
        "tables": {
            "table_attacks": table.attacks,
            "table_rates": table.rates,
            **conditioning.tables(sets.table, train),
            "anatomy": _anatomy(nets, sets, measure, seed, keep),
            "membership": attack_table,
        },
        "paper": paper.block(),
    }
    report["verdicts"] = verdicts(report)
    protocol.freeze(out, (section, measuring, preprocess), fabric, segmenter, age, report)
    ladders = nets.ladders(covariate_array(train), options.ladder_steps, sets.first_row, sets.synthetic.sampling)
    report["tables"]["ladders"] = {name: evaluation.steps(ladder) for name, ladder in ladders.items()}
    volumes, shown = evaluation.pictures(sets, ours["copied"], ours["copy_score"], ladders, seed)
    viewed = evaluation.viewed(volumes, ladders)
    labels = {f"{name}_labels": nets.labels(images, given.grid.affine, f"labels: {name}") for name, images in viewed.items()}
    evaluation.write(out, evaluation.Evaluation(report, sets.table, {**volumes, **labels}, {**shown, "held_out_ages": ages}))
    keep.forget()


class _Looked(NamedTuple):
    """Descriptions of synthetic volumes and of real scans; the audit of copies; who is attacked, and how near planted copies come."""

    synthetic: Arrays
    real: Arrays
    audit: Entries
    attacked: attacks.Attacked
    planted: Mapping[str, Arrays]


def _look(nets: panel.Panel, sets: evaluation.Sets, means: cache.Latents, options: Evaluate, seed: int, keep: parts.Parts) -> _Looked:
    """Describe synthetic and real volumes, and audit the former, among which copies of training scans are hidden."""
    spacing_mm = sets.real.grid.spacing_mm

    def also(images: np.ndarray) -> Arrays:
        low, fine = audit.low_resolution(images, spacing_mm), membership.texture(images, spacing_mm)
        return {"image": low, "texture": fine, "sharpness": sharpness(images)}

    look = partial(nets.describe, also=lambda images: {**also(images), "mu": nets.encode(images)})
    theirs = keep(
        "real", len(sets.real), lambda part: nets.describe(sets.real.batch, part, parts.title("real scans", part, len(sets.real)), also)
    )
    spaces: dict[str, Rows] = {
        "mu": lambda places: means.means(places).reshape(len(places), -1),
        **{name: partial(_rows, theirs[name]) for name in ("image", "texture", "features")},
    }
    splits = (sets.train, sets.held_out)
    detector = audit.detector({name: audit.Space(*(Chosen(spaces[name], split) for split in splits)) for name in ("mu", "image")})
    generator = np.random.default_rng([seed, 71])
    drawn = attacks.one_each(sets.real.table, generator.permutation(sets.train))
    attacked = attacks.choose(sets.real.table, drawn, attacks.one_each(sets.real.table, sets.held_out), options, spaces)
    chosen = drawn[: options.planted_copies]
    copies = {
        "altered": lambda places: audit.altered(sets.real.batch(chosen[places]), spacing_mm, generator),
        "decoded": lambda places: nets.decode(means.means(chosen[places])),
    }
    planted = {kind: look(read, range(len(chosen)), f"{kind} copies") for kind, read in copies.items() if len(chosen)}
    n = len(sets.synthetic)

    def judged(part: range) -> Arrays:
        described = look(sets.synthetic.batch, part, parts.title("synthetic volumes", part, n))
        found = {**detector(described), **attacked.nearest(described)}
        return {name: values for name, values in found.items() if name != "texture"}

    ours = keep("synthetic", n, judged)
    audited = audit.conduct(detector, ours, {kind: detector(described) for kind, described in planted.items()}, options, seed)
    return _Looked(ours, theirs, audited, attacked, {kind: attacked.nearest(described) for kind, described in planted.items()})


def _rows(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return rows of values [N,D]."""
    return np.asarray(values[places])


def _features(ours: np.ndarray, theirs: np.ndarray, name: str, reference: str | None, out: Path, seed: int) -> Entries:
    """FID and its companions; the real scans' statistics are written for others, and those of others read."""
    evaluation.write_reference(out.with_name("reference.npz"), *frechet.moments(theirs), name)
    entries = fidelity.against_reference(evaluation.read_reference(Path(reference), name), ours, seed) if reference else {}
    return {**fidelity.fidelity(theirs, ours, seed), **entries, "fid_features": name}


def _likeness(nets: panel.Panel, sets: evaluation.Sets, means: cache.Latents, options: Evaluate, seed: int, keep: parts.Parts) -> Entries:
    """How alike the volumes of a set are; and what of it the autoencoder's blur explains, on a sample of held-out scans."""
    sample, again = sets.held_out[:RECONSTRUCTED], parts.Stored(keep.folder / "reconstructions")
    rebuilt_ml = nets.reconstruct(lambda places: means.means(sample[places]).astype(np.float32), len(sample), "reconstructions", again.add)
    alike = partial(diversity, n_pairs=options.ssim_pairs, seed=seed, device=nets.device)
    alike = partial(alike, sample=options.ssim_sample, keep=keep)
    original_ml = sets.real.table["ventricles_ml"].to_numpy()[sample]
    rebuilt = reconstruction(again.batch, lambda places: sets.real.batch(sample[places]), len(sample), nets.device)
    return {
        **scales(sets.real.grid.shape),
        **alike(sets.synthetic.batch, len(sets.synthetic)),
        **alike(sets.real.batch, len(sets.real), kind="real"),
        **alike(again.batch, len(sample), kind="reconstruction"),
        **summary.means_of(rebuilt, options.bootstrap, seed),
        **summary.obedience("autoencoder_ventricles", "ml", original_ml, rebuilt_ml, options.bootstrap, seed),
    }


def _anatomy(nets: panel.Panel, sets: evaluation.Sets, measure: list[Path], seed: int, keep: parts.Parts) -> Entries:
    """Region by region, on a sample of the real scans."""
    chosen = np.random.default_rng([seed, 73]).permutation(len(sets.real))[:SEGMENTED]
    n, read = len(chosen), lambda places: sets.real.batch(chosen[places])
    theirs = keep("regions", n, lambda part: nets.regions(read, part, parts.title("regions of real scans", part, n)))
    ours = evaluation.regions(measure, sets.synthetic.indices)
    return anatomy.regions(theirs, ours, sets.real.table.iloc[chosen], sets.table)
