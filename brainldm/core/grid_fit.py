"""Whether the configured networks fit the grid: each halves its sides some times, and must get them back."""

import math

from brainldm.core.config import Config
from brainldm.core.findings import Finding, error


def side_multiples(config: Config) -> dict[str, int]:
    """What every side of the grid must be a multiple of, by stage; the diffusion model's grid is the autoencoder's latent."""
    segmenter, coder, denoiser = config.train_segmenter, config.train_autoencoder, config.train_diffusion
    latent = coder.space_to_depth * 2 ** (len(coder.channels) - 1)
    return {
        "train_segmenter": segmenter.space_to_depth * 2 ** (segmenter.levels - 1),
        "train_autoencoder": latent,
        "train_diffusion": latent * denoiser.space_to_depth * 2 ** (len(denoiser.channels) - 1),
        "train_age": config.train_age.space_to_depth,
    }


def check(config: Config) -> Finding:
    """The grid's sides against all of them."""
    shape, wanted = config.grid.shape, side_multiples(config)
    found = f"{' x '.join(map(str, shape))} voxels of {config.grid.spacing_mm:g} mm"
    unfit = [f"{stage} needs multiples of {multiple}" for stage, multiple in wanted.items() if any(side % multiple for side in shape)]
    if not unfit:
        return Finding("grid", found)
    remedy = (
        f"make every side of grid.shape a multiple of {math.lcm(*wanted.values())}, or take fewer channels (levels) or less space_to_depth"
    )
    return error("grid", found, f"grid.shape {list(shape)} does not fit the networks: {'; '.join(unfit)}", remedy)
