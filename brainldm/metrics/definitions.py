"""Every metric in words and numbers, for a frozen protocol: what a report's figures mean, taken from the constants that compute them."""

import json
from typing import Any

from brainldm.core.gate import NO_LEAK, PASSED
from brainldm.metrics import anatomy, audit, conditioning, fidelity, g4r, manifold, membership, scales, verdicts
from brainldm.metrics.diversity import SCORES
from brainldm.metrics.diversity import scales as weights

PAIRS = "mean over random pairs of one set (no pair twice), clamped to [0, 1]; interval: dyadic-robust variance (Aronow et al. 2015)"
WINDOW = {"window_voxels": scales.WINDOW, "sigma_voxels": scales.SIGMA, "k1": scales.K1, "k2": scales.K2, "data_range": 1.0}
INTENSITIES = (
    "scans are resampled to the grid, and `preprocess.intensity_percentiles` of the volume become 0 and 1, clipped; "
    "synthetic volumes as they were generated, not rescaled"
)


SAYS = {
    "g4r_ssim": "multi-scale, r*",
    "g4r_ssim_single_scale": "single scale, r*",
    "g4r_ssim_plain": "multi-scale, not regularised (4-G-SSIM)",
}
OBEYS = ("r", "slope", "intercept_{}", "bias_{}", "mae_{}")
OBEDIENCE = (
    "requested against measured (age: predicted): Pearson's r; least squares, measured = slope * requested + intercept; "
    "mean of measured - requested; mean absolute error; interval: bootstrap percentiles over volumes"
)
FIDELITY = (
    "features of n real scans, of training and held out, against those of n others, mean over draws; n: the smaller of half the real scans "
    "and all others; interval: percentiles over draws of halves, moved to the mean; fid: squared Frechet distance of Gaussians (Heusel et "
    "al. 2017) in float64; kid: unbiased squared MMD, kernel (x.y / D + 1)^3; the others: balls that reach to the k-th neighbour "
    "(Kynkaanniemi et al. 2019, Naeem et al. 2020)"
)

MEMBERSHIP = (
    "attacks that score training scans against held-out scans; auc: probability that a training scan scores higher, "
    "interval of Newcombe (2006, method 5); tpr: true positives at 1 % false positives, interval of Clopper and Pearson "
    "(1934); unusual: the tenth of people farthest in Mahalanobis distance of covariates. Scores by distance to the "
    "nearest synthetic volume, alone and relative to held-out scans (DOMIAS, van Breugel et al. 2023), in low-resolution "
    "images, strength of fine detail, latent means and the age model's or MedicalNet's features; by the error of the "
    "autoencoder's reconstruction and by the denoising loss of the diffusion model at 20, 30 and 40 % of its "
    "timesteps, alone and relative to the distance to held-out scans. The verdict corrects for all looks (Bonferroni)"
)


def definitions(shape: tuple[int, int, int]) -> dict[str, Any]:
    """By figure, or family of figures, on a grid (I, J, K); plain JSON values."""
    found = {
        "obedience": {
            "figures": [f"{name}_{key.format(unit)}" for name, unit, *_ in conditioning.COVARIATES for key in OBEYS],
            "definition": OBEDIENCE,
        },
        "partial": {
            "figures": [f"{name}_partial_{key}" for name, *_ in conditioning.COVARIATES for key in ("r", "slope")],
            "definition": "obedience of what is left of both after linear regression on the other requested covariates",
        },
        "autoencoder": {
            "definition": "held-out scans against what the autoencoder returns: PSNR (dB) over the grid, MS-SSIM, ventricles as obedience"
        },
        "segmenter_ventricles": {"definition": "held-out scans whose true volumes are known: measured against true, as obedience"},
        "nearest_train_ratio": {
            "definition": "median distance of latent means to the nearest training scan, synthetic volumes over held-out scans; "
            "interval: bootstrap over both"
        },
        "fidelity": {
            "figures": ["fid", "kid", "precision", "recall", "density", "coverage"],
            "definition": FIDELITY,
            "variance": "fid_variance_real: trace of the covariance of all real features",
            "real_row": "n other real scans in place of the synthetic volumes",
            **{"draws": fidelity.DRAWS, "n_at_most": fidelity.LARGEST, "neighbours": manifold.NEIGHBOURS},
        },
        "ms_ssim": {
            "definition": f"MS-SSIM of MONAI, Gaussian window; {PAIRS}",
            **WINDOW,
            "weights": weights(shape)["ms_ssim_weights"],
        },
        "g4r_ssim": {
            "definition": f"4-G-R-SSIM: four components, gradient-based, r* (docs/evaluation.md); {PAIRS}",
            "variants": {name: SAYS[name] for name in SCORES if name in SAYS},
            **{**WINDOW, "edges_above": g4r.EDGE, "smooth_below": g4r.SMOOTH, "weights": weights(shape)["g4r_ssim_weights"]},
        },
        "sharpness": {"definition": "root mean square of the discrete Laplacian over the standard deviation; mean over volumes"},
        "anatomy": {
            "definition": "Cohen's d and Wasserstein distance of every region, weighted to one distribution of age and sex",
            **{"age_step_years": anatomy.AGE_STEP, "fewest": anatomy.FEWEST},
        },
        "audit": {
            "definition": "distance to the nearest training scan over the mean distance to held-out scans, in latent means and in "
            "low-resolution images; a volume below a threshold counts as a copy; planted copies must be found; "
            "copies_as_planted: volumes with a score below the median of planted copies of one kind, of which there must be none",
            **{"neighbours": audit.NEIGHBOURS, "block_mm": audit.BLOCK_MM, "false_alarms": audit.FALSE_ALARMS, "safety": audit.SAFETY},
            **{"sensitivity": audit.SENSITIVITY, "confidence": audit.CONFIDENCE, "fewest": audit.FEWEST, "passed": PASSED},
            "planted": {"noise": audit.NOISE, "shift_mm": audit.SHIFT_MM, "gain": audit.GAIN},
        },
        "membership": _membership(),
        "qc_pass_fraction": {"definition": "share of volumes that pass the rules of `measure.quality`"},
        "rejection_rate": {"definition": "share of draws that fail them, redrawn or kept; interval: Clopper and Pearson (1934)"},
        "verdicts": {rule.name: str(rule) for rule in verdicts.RULES},
    }
    return dict(json.loads(json.dumps(found)))


def _membership() -> dict[str, Any]:
    """Return what membership-inference attacks are and what their verdicts rest on."""
    return {
        "definition": MEMBERSHIP,
        "block_mm": {"image": audit.BLOCK_MM, "texture": membership.TEXTURE_MM},
        "neighbours": {"synthetic": 1, "reference": audit.NEIGHBOURS, "folds": membership.FOLDS},
        "false_positives": membership.FALSE_POSITIVES,
        "unusual": membership.UNUSUAL,
        "leak": {
            "auc_above": 0.5 + membership.TOLERANCE,
            "unusual_auc_above": 0.5 + membership.TOLERANCE_UNUSUAL,
            "tpr_above": membership.MOST_SURE,
            "confidence": membership.CONFIDENCE,
        },
        "passed": {
            "says": NO_LEAK,
            "auc_excluded": membership.EXCLUDED,
            "control_auc": membership.CONTROL_AUC,
            "fewest": audit.FEWEST,
        },
    }
