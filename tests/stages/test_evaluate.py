"""The whole evaluation of planted volumes: what it writes, and that its memory does not grow with their number.

`python tests/stages/test_evaluate.py FOLDER REAL SYNTHETIC` evaluates once, at the demo's size.
"""

import json
import sys
from pathlib import Path

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[1] / "support"))

from judged import judge
from scans import ROOT
from spent import spent

from brainldm.core.config import parse

QUICK = {"ssim_pairs": 8, "bootstrap": 20, "ladder_steps": 2, "planted_copies": 8, "batch_size": 4}
LEFT = {"report.json", "protocol.yaml", "agreement.tsv", "reference.npz", "images.npz", "shown.json"}
ATTACKS = {
    "images": ["image_nearest", "image_density_ratio", "texture_nearest", "texture_density_ratio", "without_release"],
    "autoencoder": ["latent_nearest", "latent_density_ratio", "reconstruction", "reconstruction_calibrated"],
    "diffusion": ["denoising_loss", "denoising_loss_calibrated"],
    "age": ["feature_nearest", "feature_density_ratio"],
}
DEMO = parse(yaml.safe_load((ROOT / "config.yaml").read_text()))


def peak_mib(folder: Path, n_real: int, n_synthetic: int) -> float:
    """Of a process that evaluates."""
    return spent(sys.executable, __file__, folder, n_real, n_synthetic).peak_mib


def test_an_evaluation_leaves_a_report_and_no_work(tmp_path: Path) -> None:
    out = judge(tmp_path, 12, 10, **QUICK)
    report = json.loads(out.read_text())
    assert report["n_synthetic"] == 10
    assert report["age_bias_years"] == pytest.approx(1.0, abs=1e-5)
    assert report["ventricles_r"] == pytest.approx(1.0)
    assert report["autoencoder_psnr_db_n"] == 3
    ladders = report["tables"]["ladders"]
    assert list(ladders) == ["ladder_ventricles_ml", "ladder_brain_ml", "ladder_age_years", "beyond_ventricles_ml", "beyond_brain_ml"]
    assert ladders["beyond_brain_ml"]["scaled"] == pytest.approx([-0.5, -0.3, -0.1, 0.5])  # paper, Fig. 4
    assert all(len(one["measured"]) == len(one["requested"]) for one in ladders.values())
    assert {path.name for path in out.parent.iterdir()} == LEFT
    table = report["tables"]["membership"]
    assert {target: list(attacks) for target, attacks in table.items()} == ATTACKS
    assert table["autoencoder"]["reconstruction"]["control_auc"] == 1.0
    assert table["diffusion"]["denoising_loss"]["control_auc"] > 0.5  # latents of a coder that has learned nothing are much alike
    assert table["images"]["image_nearest"]["auc_n"] + table["images"]["image_nearest"]["n_others"] == 12
    assert report["membership_images"] == report["verdicts"]["does not tell who was trained on"]["value"] == "not enough data"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_volumes(tmp_path: Path) -> None:
    few, many = (peak_mib(tmp_path / str(n), 40, n) for n in (250, 1000))
    assert many < few + 60  # MiB; the 750 volumes more are 117


if __name__ == "__main__":
    judge(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), DEMO, **{**QUICK, "batch_size": 16})
