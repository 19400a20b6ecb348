"""Our networks -> a MONAI bundle: a folder on which `python -m monai.bundle run` makes a volume with plain MONAI."""

from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

from brainldm import __version__
from brainldm.core.covariates import NAMES
from brainldm.core.errors import DataError
from brainldm.core.files import write_json, write_text
from brainldm.core.grid import Grid
from brainldm.core.outputs import new_folder
from brainldm.models import bundle_sampler
from brainldm.models.autoencoder import Autoencoder
from brainldm.models.diffusion import Diffusion

PLAIN = {"space_to_depth": 1, "position_channels": 0}  # what MONAI's networks can do of our options
STEPS = 50
README = """# Synthetic brain MRI from a latent diffusion model

Made by brainldm {version}. In this folder, with `pip install "monai>={monai}" einops nibabel fire`,

```
python -m monai.bundle run --config_file configs/inference.json --sex 1 --age_years {age:g} --seed 7 --out_file volume
```

writes `output/volume.nii.gz`: {shape} voxels of {spacing:g} mm as the decoder gives them, 32-bit floats, not clamped. Covariates are
in physical units; outside the ranges of the training data the model extrapolates:

| | minimum | maximum |
|---|---|---|
{ranges}

`seed` chooses the noise and `steps` the number of DDIM steps ({steps}). The `set_timesteps` of MONAI 1.6.1's `DDIMScheduler` spaces
timesteps differently from what a step of it assumes, which leaves noise in the volume when the steps are few. `scripts/sampler.py`
therefore sets them itself, as the published bundle's first release had them: 980, 960 ... 0 for 50 of 1000.

Each volume is synthetic. Not for clinical use.
"""


def check(coder: Autoencoder, denoiser: Diffusion, files: tuple[Path, Path]) -> None:
    """DataError, naming the file and the option, where a network does what MONAI's cannot, or the two do not belong together."""
    for spec, path in zip((coder.spec, denoiser.spec), files, strict=True):
        for option, plain in PLAIN.items():
            if spec[option] != plain:
                raise DataError(f"{path}: expected {option} {plain}, which MONAI's networks have, found {spec[option]}")
    standardised = (bool(coder.mean.any()) or float(coder.spread) != 1, bool(denoiser.latent_fit.any()))
    for path, found in zip(files, standardised, strict=True):
        if found:
            raise DataError(f"{path}: expected standardise false, as MONAI's networks have it, found a model trained with standardise true")
    if "spacing_mm" not in coder.spec:
        raise DataError(f"{files[0]}: expected the grid's spacing_mm and center_mm in its spec, found none; train it with this version")
    if coder.latent_shape(coder.spec["shape"]) != denoiser.latent_shape:
        latent = coder.latent_shape(coder.spec["shape"])
        raise DataError(f"{files[1]}: expected latents of shape {latent} as {files[0]} makes them, found {denoiser.latent_shape}")


def write(folder: Path, coder: Autoencoder, denoiser: Diffusion, overwrite: bool = False) -> None:
    """Write the bundle of two networks that passed `check`; OutputError if the folder holds files and `overwrite` is not set."""
    with new_folder(folder, overwrite) as fresh:
        (fresh / "models").mkdir()
        torch.save(coder.network.state_dict(), fresh / "models/autoencoder.pt")
        torch.save(denoiser.network.state_dict(), fresh / "models/model.pt")
        write_json(fresh / "configs/inference.json", inference(coder, denoiser))
        write_json(fresh / "configs/metadata.json", _metadata(coder, denoiser))
        write_text(fresh / "scripts/__init__.py", "from scripts import sampler as sampler\n")  # MONAI imports no submodule by itself
        write_text(fresh / "scripts/sampler.py", Path(bundle_sampler.__file__).read_text(encoding="utf-8"))
        write_text(fresh / "docs/README.md", _readme(coder, denoiser))


def inference(coder: Autoencoder, denoiser: Diffusion) -> dict[str, Any]:
    """configs/inference.json: covariates in physical units, networks, scheduler and the run; `@` refers, `$` evaluates."""
    middle = [(a + b) / 2 for a, b in zip(denoiser.ranges.low, denoiser.ranges.high, strict=True)]
    return {
        "imports": ["$import torch", "$from scripts import sampler"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/output'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        **dict(zip(NAMES, [0, *middle[1:]], strict=True)),
        "seed": 0,
        "steps": STEPS,
        "out_file": "sample",
        "lowest": list(denoiser.ranges.low),
        "highest": list(denoiser.ranges.high),
        "latent_shape": list(denoiser.latent_shape),
        "scale_factor": 1 / float(denoiser.latent_spread),
        "affine": affine(coder.spec).tolist(),
        "autoencoder_def": _autoencoder(coder.spec),
        "network_def": _unet(denoiser),
        "autoencoder": "$sampler.load(@autoencoder_def, @bundle_root + '/models/autoencoder.pt', @device)",
        "diffusion": "$sampler.load(@network_def, @bundle_root + '/models/model.pt', @device)",
        "ddim": _scheduler(denoiser.spec),
        "scheduler": "$sampler.set_timesteps(@ddim, @steps)",
        "conditions": f"$sampler.scale([{', '.join('@' + name for name in NAMES)}], @lowest, @highest)",
        "noise": "$torch.randn([1, *@latent_shape], generator=torch.Generator().manual_seed(@seed))",
        "sample": "$sampler.sample(@noise, @conditions, @scheduler, @diffusion, @autoencoder, @scale_factor)",
        "saver": {"_target_": "SaveImage", "output_dir": "@output_dir", "output_postfix": "", "separate_folder": False, "resample": False},
        "run": ["$@saver(sampler.as_image(@sample, @affine, @out_file))"],
    }


def affine(spec: dict[str, Any]) -> np.ndarray:
    """Voxel index to RAS mm, [4, 4], of the volumes as the network itself gives them."""
    grid = Grid.model_validate({name: spec[name] for name in Grid.model_fields})
    if not spec.get("right_to_left", False):
        return grid.affine
    turn = np.diag([-1.0, 1, 1, 1])
    turn[0, 3] = grid.shape[0] - 1
    return grid.affine @ turn


def _autoencoder(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "_target_": "AutoencoderKL",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 1,
        "latent_channels": spec["latent_channels"],
        "channels": list(spec["channels"]),
        "num_res_blocks": [spec["res_blocks"]] * len(spec["channels"]),
        "norm_num_groups": spec["norm_groups"],
        "attention_levels": [False] * len(spec["channels"]),
        "with_encoder_nonlocal_attn": False,
        "with_decoder_nonlocal_attn": False,
    }


def _unet(denoiser: Diffusion) -> dict[str, Any]:
    spec, channels = denoiser.spec, denoiser.latent_shape[0]
    return {
        "_target_": "DiffusionModelUNet",
        "spatial_dims": 3,
        "in_channels": channels + len(NAMES),
        "out_channels": channels,
        "channels": list(spec["channels"]),
        "num_res_blocks": spec["res_blocks"],
        "attention_levels": list(spec["attention_levels"]),
        "norm_num_groups": spec["norm_groups"],
        "resblock_updown": True,
        "num_head_channels": list(spec["head_channels"]),
        "with_conditioning": True,
        "transformer_num_layers": 1,
        "cross_attention_dim": len(NAMES),
    }


def _scheduler(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "_target_": "DDIMScheduler",
        "num_train_timesteps": spec["timesteps"],
        "schedule": "scaled_linear_beta",
        "beta_start": spec["beta_start"],
        "beta_end": spec["beta_end"],
        "prediction_type": spec["prediction"],
        "clip_sample": False,
    }


def _metadata(coder: Autoencoder, denoiser: Diffusion) -> dict[str, Any]:
    latent = {"type": "image", "format": "latent", "modality": "MR", "is_patch_data": False, "dtype": "float32"}
    inputs = {**latent, "num_channels": denoiser.latent_shape[0], "spatial_shape": list(denoiser.latent_shape[1:])}
    outputs = {**inputs, "format": "magnitude", "num_channels": 1, "spatial_shape": list(coder.spec["shape"])}
    return {
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by brainldm {__version__}"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"einops": "0.8.0", "nibabel": "5.0.0", "fire": "0.7.0"},
        "task": "synthesis of T1-weighted brain MRI from age, sex, ventricular volume and brain volume",
        "description": "A latent diffusion model as in Pinaya et al. 2022 (arXiv 2209.07162).",
        "authors": "",
        "copyright": "",
        "intended_use": "research; not for clinical use",
        "network_data_format": {"inputs": {"latent": inputs}, "outputs": {"image": outputs}},
    }


def _readme(coder: Autoencoder, denoiser: Diffusion) -> str:
    rows = zip(NAMES, denoiser.ranges.low, denoiser.ranges.high, strict=True)
    words = {"sex": "`sex` (0 female, 1 male)"}
    return README.format(
        version=__version__,
        monai=monai.__version__,
        age=round((denoiser.ranges.low[1] + denoiser.ranges.high[1]) / 2),
        shape=" x ".join(map(str, coder.spec["shape"])),
        spacing=coder.spec["spacing_mm"],
        ranges="\n".join(f"| {words.get(name, f'`{name}`')} | {low:g} | {high:g} |" for name, low, high in rows),
        steps=STEPS,
    )
