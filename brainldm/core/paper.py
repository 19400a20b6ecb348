"""Numbers published by Pinaya et al. 2022 (arXiv 2209.07162, Table 1 and section 3.2), to stand beside a run's own."""

from typing import Any

LABEL = "UK Biobank, published"
SOURCE = "Pinaya et al. 2022, arXiv 2209.07162: Table 1 (LDM + DDIM, 50 steps; real images) and section 3.2"
TABLE: dict[str, dict[str, float]] = {  # Table 1, in its order
    "lsgan": {"fid": 0.0231, "ms_ssim": 0.9997, "g4r_ssim": 0.9969},
    "vaegan": {"fid": 0.1576, "ms_ssim": 0.9671, "g4r_ssim": 0.8719},
    "ddpm": {"fid": 0.0076, "ms_ssim": 0.6555, "g4r_ssim": 0.3883},
    "ddim": {"fid": 0.0080, "ms_ssim": 0.6704, "g4r_ssim": 0.3957},
    "real": {"fid": 0.0005, "ms_ssim": 0.6536, "g4r_ssim": 0.3909},
}
NAMES = {"lsgan": "LSGAN", "vaegan": "VAE-GAN", "ddpm": "LDM (DDPM)", "ddim": "LDM + DDIM (50)", "real": "Real scans"}
PUBLISHED: dict[str, float] = {
    **TABLE["ddim"],
    **{f"{name}_real": value for name, value in TABLE["real"].items()},
    "ventricles_r": 0.972,
    "age_r": 0.692,
}


def block() -> dict[str, Any]:
    """The published numbers with their label and source, as one JSON object."""
    return {"label": LABEL, "source": SOURCE, **PUBLISHED}
