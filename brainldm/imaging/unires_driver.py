"""Run UniRes on one scan, as `python unires_driver.py job.json`: a script for UniRes' own environment, which lacks brainldm.

Source: brudfors/UniRes v0.3, read for its settings (struct.py) and for the matrix that aligns with the atlas (_core.py).
"""

import json
import socket
import sys
from pathlib import Path
from typing import Any

ATLAS = "atlas_t1"  # nitorch's name for the atlas that UniRes aligns to
DOWNLOAD_SECONDS = 60.0
# As the paper's laboratory set them, but for the first line. `unified_rigid` is without effect for a single scan.
SETTINGS = {
    "atlas_rigid": True,  # the default fits a scale as well; the command line's --atlas_rigid never reaches the settings
    "vx": 1.0,  # mm of the output's voxels; 0 would denoise
    "do_atlas_align": True,
    "common_output": True,
    "crop": True,
    "fov": "head",
    "pow": 256,
    "unified_rigid": True,
    "do_print": 0,
    "write_out": True,
}


class Fault(Exception):
    """The environment is at fault, not the scan."""


def main(job_file: Path) -> None:
    """Do the job {scan, folder, super_resolution, answer}; the answer goes to the file of that name.

    The answer is {atlas_to_native: [4][4], volume: path, atlas: path}, or {fault: message} where no scan could be done.
    """
    job = json.loads(job_file.read_text(encoding="utf-8"))
    try:
        answer = run(job)
    except Fault as fault:
        answer = {"fault": str(fault)}
    Path(job["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Align the scan with the atlas; `atlas_to_native` maps the atlas' RAS mm to the scan's.

    UniRes multiplies a scan's affine by the inverse of `mat_atlas`, so that this matrix itself leads from the atlas to the scan.
    """
    try:
        import torch
        from unires.run import preproc
    except ImportError as error:
        raise Fault(f"expected an environment with UniRes, found: {error}") from None
    atlas = fetch_atlas()
    torch.set_grad_enabled(False)
    torch.manual_seed(0)  # as nitorch does before it jitters its grid, but after it has dithered the atlas
    chosen = choose(job["super_resolution"], job["folder"], "cuda" if torch.cuda.is_available() else "cpu")
    _, _, written = preproc([job["scan"]], chosen)
    return {"atlas_to_native": chosen.mat_atlas.tolist(), "volume": str(written[0]), "atlas": atlas}


def choose(super_resolution: bool, folder: str, device: str) -> Any:
    """UniRes' settings: its defaults, changed where we want something else."""
    from unires.struct import settings

    changes = SETTINGS | {"dir_out": folder, "device": device}
    if not super_resolution:
        changes["max_iter"] = 0
    chosen = settings()
    for name, value in changes.items():
        if not hasattr(chosen, name):
            raise Fault(f"expected UniRes v0.3, found one without the setting {name!r}")
        setattr(chosen, name, value)
    return chosen


def fetch_atlas() -> str:
    """Path of the atlas in nitorch's cache, where it is downloaded on first use."""
    from nitorch.core.datasets import cache_dir, data, fetch_data

    socket.setdefaulttimeout(DOWNLOAD_SECONDS)
    try:
        return str(Path(fetch_data(ATLAS)).resolve(strict=True))
    except Exception as error:  # a downloader fails in its own ways
        url, name = data[ATLAS]
        raise Fault(
            f"expected UniRes' atlas at {Path(cache_dir or '.') / name}, found none, and it could not be downloaded from {url} "
            f"({type(error).__name__}: {error}); put it there by hand"
        ) from None
    finally:
        socket.setdefaulttimeout(None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
