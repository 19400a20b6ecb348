"""Numbers published by Pinaya et al. 2022 (arXiv 2209.07162, Table 1 and section 3.2), to stand beside a run's own."""

from typing import Any

LABEL = "UK Biobank, published"
SOURCE = "Pinaya et al. 2022, arXiv 2209.07162: Table 1 (LDM + DDIM, 50 steps; real images) and section 3.2"
PUBLISHED: dict[str, float] = {
    "fid": 0.0080,
    "fid_real": 0.0005,
    "ms_ssim": 0.6704,
    "ms_ssim_real": 0.6536,
    "g4r_ssim": 0.3957,
    "g4r_ssim_real": 0.3909,
    "ventricles_r": 0.972,
    "age_r": 0.692,
}


def block() -> dict[str, Any]:
    """The published numbers with their label and source, as one JSON object."""
    return {"label": LABEL, "source": SOURCE, **PUBLISHED}
