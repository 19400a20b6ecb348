"""An evaluation of planted numbers and volumes, and the files from which the report is made of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from brainldm import attacks
from brainldm.core import paper
from brainldm.core.config import parse, section_json
from brainldm.core.covariates import covariate_array
from brainldm.core.rows import participant_id
from brainldm.formats import evaluation, scan_sheet
from brainldm.formats.nifti import encode_volume, quantise, write_bytes
from brainldm.formats.tables import write_tsv
from brainldm.metrics import anatomy, audit, conditioning, fidelity, membership, summary, verdicts
from brainldm.metrics.table_audit import Table, audit_table

CONFIG = parse(yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text()))
N, SEED = 40, 3
LADDERS = ("ladder_ventricles_ml", "ladder_brain_ml", "ladder_age_years", "beyond_ventricles_ml", "beyond_brain_ml")


def planted(volumes: dict[str, np.ndarray]) -> evaluation.Evaluation:
    """An evaluation of numbers drawn here and scored by the true metrics."""
    generator = np.random.default_rng(SEED)
    age, ventricles = generator.uniform(45, 80, N), generator.uniform(15, 110, N)
    table = pd.DataFrame(
        {
            "index": range(N),
            "participant_id": [participant_id(index) for index in range(N)],
            "seed": SEED,
            "age_years": age,
            "sex": "F",
            "ventricles_ml": ventricles,
            "brain_ml": 1800 - 5 * age,
            "measured_ventricles_ml": ventricles + generator.normal(2, 4, N),
            "measured_brain_ml": 1790 - 5 * age + generator.normal(0, 20, N),
            "age_predicted_years": age + generator.normal(0, 6, N),
            "qc_pass": np.arange(N) > 0,
            "qc_reason": ["empty"] + [""] * (N - 1),
            "attempt": np.arange(N) % 4 // 3,
            "rejected": ["", "", "", "unsure age"] * (N // 4) + [""] * (N % 4),
            "in_support": np.arange(N) % 5 > 0,
            "cell": "",
        }
    )
    ages = {"true": age[:20], "predicted": age[:20] + generator.normal(0, 5, 20)}
    alike = [
        summary.mean_of(f"{name}{kind}", generator.normal(mean, 0.04, 500), 100, SEED)
        for name, shift in (("ms_ssim", 0.0), ("g4r_ssim", -0.3), ("g4r_ssim_single_scale", -0.2), ("g4r_ssim_plain", -0.2))
        for kind, mean in (("", 0.86 + shift), ("_reconstruction", 0.84 + shift), ("_real", 0.77 + shift))
    ]
    report = {
        "population": "numbers planted by a test",
        "resolution": "32 x 40 x 32 voxels of 5 mm",
        "n_synthetic": N,
        "fid_features": "planted",
        "ms_ssim_weights": [0.2, 0.8],
        **conditioning.conditioning(table, table[:20].assign(age_predicted_years=ages["predicted"]), 200, SEED),
        **fidelity.fidelity(generator.standard_normal((60, 4)), generator.standard_normal((40, 4)), SEED),
        **{key: value for entries in alike for key, value in entries.items()},
        **summary.nearness(generator.uniform(1, 2, 30), generator.uniform(1, 2, 20), 100, SEED),
        **summary.entry("autoencoder_psnr_db", float("nan"), 20),
        **audit.audit(
            np.where(np.arange(N) < 1, 0.9, 2.0), np.zeros(30, bool), {kind: np.full(30, 0.5) for kind in ("altered", "decoded")}, 0.05
        ),
        "paper": paper.block(),
    }
    regions = {name: generator.normal(300, 20, N) for name in ("left thalamus", "csf")}
    other_people = covariate_array(table) + generator.normal(0, [0, 5, 5, 30], (N, 4))
    found = audit_table(Table.of(table), covariate_array(table) + 0.01, other_people)
    figures, attacked = membership_attacks(generator)
    report |= {"table_audit": found.verdict, **figures}
    report["tables"] = {
        "table_attacks": found.attacks,
        "table_rates": found.rates,
        "membership": attacked,
        **conditioning.tables(table, table),
        "anatomy": anatomy.regions(regions, regions, table, table),
    }
    report["verdicts"] = verdicts.verdicts(report)
    shown = {name: [f"{name}-{place}" for place in range(len(volumes[name]))] for name in volumes}
    steps = {name: np.linspace(15, 110, 5) for name in LADDERS}
    return evaluation.Evaluation(
        report,
        table,
        volumes,
        {
            **shown,
            "synthetic": table["participant_id"][: len(volumes["synthetic"])].tolist(),
            "near_score": np.linspace(0.6, 0.9, len(volumes["near_train"])),
            "worst_reason": ["a reason with <angle> & ampersand"] * len(volumes["worst"]),
            "held_out_ages": ages,
            **{
                name: {"requested": values, "measured": values + 1, "scaled": values / 50 - 0.8, "slope": 1.0}
                for name, values in steps.items()
            },
        },
    )


def membership_attacks(generator: np.random.Generator, leak: float = 0.0) -> tuple[summary.Entries, summary.Entries]:
    """Figures and table of attacks whose scores of 200 training scans lie `leak` standard deviations above those of 150 others."""
    unusual = [np.arange(n) % 10 == 0 for n in (200, 150)]

    def attack(name: str) -> membership.Attack:
        shift = 0.0 if name == "without_release" else leak
        scores = generator.standard_normal(200) + shift, generator.standard_normal(150)
        return membership.Attack(membership.membership(*scores, *unusual), 1.0)

    return attacks.entries(
        {
            "images": {name: attack(name) for name in ("image_nearest", "texture_density_ratio", "without_release")},
            "autoencoder": {name: attack(name) for name in ("latent_nearest", "reconstruction")},
            "diffusion": {"denoising_loss": attack("denoising_loss")},
            "age": {"feature_nearest": attack("feature_nearest")},
        }
    )


def write_inputs(folder: Path, found: evaluation.Evaluation) -> dict[str, object]:
    """The files that the stage reads, and its arguments."""
    section = folder / "report.section.json"
    section.write_text(section_json(CONFIG, "report"))
    evaluation.write(folder / "evaluate" / "report.json", found)
    steps = np.arange(10, 500, 10)
    logs = []
    for name in ("train_autoencoder", "train_age"):
        logs.append(folder / name / "log.csv")
        logs[-1].parent.mkdir()
        late = pd.Series(np.where(steps > 200, 0.5, np.nan))
        pd.DataFrame({"step": steps, "seconds": steps / 7, "l1": 9 / steps, "adversarial": late}).to_csv(logs[-1], index=False)
    return {
        "section": section,
        "qc": [write_qc(folder / "preprocess/000")],
        "evaluate": folder / "evaluate" / "report.json",
        "log": logs,
        "out": folder / "report.html",
        "public": folder / "report-public.html",
    }


def write_qc(folder: Path) -> Path:
    """Thirty scans: the last is bad, the two before it are flagged."""
    grid, generator = CONFIG.grid, np.random.default_rng(8)
    table = pd.DataFrame({"participant_id": [f"sub-{index:02d}" for index in range(30)], "status": "ok", "reason": None})
    table["volume"] = [f"{name}_T1w.nii.gz" for name in table["participant_id"]]
    for name in table["volume"]:
        write_bytes(folder / name, encode_volume(quantise(generator.random(grid.shape)), grid, "test"))
    measures = {name: generator.random(30) for name in scan_sheet.MEASURES}
    header = {"header_form": "sform", "header_unit": "mm", "header_offset": "352", "header_notes": None}
    table = table.assign(flags=None, **measures, **header)
    table.loc[28, "header_notes"] = "lengths in <micron> are converted to mm"
    table.loc[27:28, "flags"] = ["low_similarity", "dark_brain;flat_brain"]
    table.loc[29, ["status", "reason", "volume", *scan_sheet.MEASURES]] = [
        "bad",
        "expected a head, found <nothing>",
        *[None] * (1 + len(scan_sheet.MEASURES)),
    ]
    write_tsv(folder / "qc.tsv", table)
    return folder / "qc.tsv"


def volumes() -> dict[str, np.ndarray]:
    """Noisy heads whose left side is brighter, and their label maps: white matter of each side around ventricles that grow by step."""
    counts = {"real": 3, "synthetic": 3, "near_synthetic": 2, "near_train": 2, "worst": 2, **dict.fromkeys(LADDERS, 5)}
    generator, grid = np.random.default_rng(9), CONFIG.grid
    x, y, z = (np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]).transpose(3, 0, 1, 2)
    radius = np.sqrt((x / 65) ** 2 + ((y + 17) / 85) ** 2 + ((z - 6) / 70) ** 2)
    brightness = np.where(radius < 1, np.where(x < 0, 0.8, 0.6), 0.0)
    found: dict[str, np.ndarray] = {}
    for name, n in counts.items():
        ventricles = [radius < 0.2 + 0.05 * place for place in range(n)]
        found[name] = np.stack([np.where(inner, 0.1, brightness) for inner in ventricles]) + generator.uniform(0, 0.1, (n, *grid.shape))
        if name in ("real", "synthetic", *LADDERS):
            white = np.where(x < 0, 2, 41)
            labels = [np.where(inner, np.where(x < 0, 4, 43), np.where(radius < 1, white, 0)) for inner in ventricles]
            found[f"{name}_labels"] = np.stack(labels).astype(np.uint8)
    return found
