"""The conditioned latent diffusion model of Pinaya et al. 2022: covariates concatenated to the latent and cross-attended."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import nn

from brainldm.core.config import TrainDiffusion
from brainldm.core.covariates import NAMES, Ranges
from brainldm.core.errors import ConfigError
from brainldm.models import checkpoint
from brainldm.models.folding import depth_to_space, space_to_depth
from brainldm.models.schedule import scaled_linear


class Diffusion(nn.Module):
    """A U-Net over latents [N,C,i,j,k], standardised or raw; carries its schedule, the covariates' ranges and the standardisation."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.latent_shape: tuple[int, ...] = tuple(spec["latent_shape"])
        self.ranges = Ranges(tuple(spec["ranges"]["low"]), tuple(spec["ranges"]["high"]))
        self.schedule = scaled_linear(spec["timesteps"], spec["beta_start"], spec["beta_end"])
        self.fold = int(spec["space_to_depth"])
        folded = self.latent_shape[0] * self.fold**3
        self.network = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=folded + len(NAMES) + spec["position_channels"],
            out_channels=folded,
            num_res_blocks=spec["res_blocks"],
            channels=spec["channels"],
            attention_levels=spec["attention_levels"],
            norm_num_groups=spec["norm_groups"],
            resblock_updown=True,
            num_head_channels=spec["head_channels"],
            with_conditioning=True,
            transformer_num_layers=1,
            cross_attention_dim=len(NAMES),
        )
        self.latent_fit = nn.Buffer(torch.zeros(1 + len(NAMES), *self.latent_shape))
        self.latent_spread = nn.Buffer(torch.ones(1))
        self.where = nn.Parameter(torch.randn(1, spec["position_channels"], *(side // self.fold for side in self.latent_shape[1:])))
        # Learned, from a start outside [0, 1], where conditions lie: zeros would be a woman of the least age, ventricles and brain.
        self.no_condition = nn.Parameter(torch.full((len(NAMES),), -1.0)) if spec.get("condition_dropout") else None

    def standardise(self, latents: torch.Tensor, conditions: torch.Tensor) -> None:
        """From now on model what latents [N,C,i,j,k] differ from their linear regression on conditions [N,4], in units of its spread.

        The network then has the deviations from the expected brain to learn, not the expected brain; the published weights do without.
        """
        # In 64 bits: with several threads the last digits of the solver differ from run to run.
        fit = torch.linalg.lstsq(_design(conditions).double(), latents.flatten(1).double()).solution
        self.latent_fit.copy_(fit.reshape(self.latent_fit.shape))
        self.latent_spread.fill_(float((latents - self._expected(conditions)).std()))

    def from_latents(self, latents: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """The autoencoder's latents [N,C,i,j,k], as the network models them under conditions [N,4]."""
        return (latents - self._expected(conditions)) / self.latent_spread

    def to_latents(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """The inverse of `from_latents`."""
        return x * self.latent_spread + self._expected(conditions)

    def _expected(self, conditions: torch.Tensor) -> torch.Tensor:
        return (_design(conditions) @ self.latent_fit.flatten(1)).reshape(-1, *self.latent_shape)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor, conditions: torch.Tensor, dropped: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The network's own prediction (epsilon or v) for noisy latents x, timesteps [N], min-max conditions [N,4].

        Rows where `dropped` [N] is true are told "no condition" instead, in the concatenated maps and in the cross-attended token.
        """
        if dropped is not None:
            assert self.no_condition is not None
            conditions = torch.where(dropped[:, None], self.no_condition, conditions)
        folded = space_to_depth(x, self.fold)
        maps = conditions[:, :, None, None, None].expand(-1, -1, *folded.shape[2:])
        where = self.where.expand(len(x), *self.where.shape[1:])
        prediction = self.network(torch.cat([folded, maps, where], 1), timesteps, context=conditions[:, None, :])
        return depth_to_space(prediction, self.fold)

    def target(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What the network should predict: epsilon, or v = sqrt(ab) noise - sqrt(1-ab) clean (Salimans & Ho 2022)."""
        if self.spec["prediction"] == "epsilon":
            return noise
        signal, spread = self.schedule.coefficients(timesteps, clean.ndim)
        return signal * noise - spread * clean

    def epsilon(
        self, x: torch.Tensor, timesteps: torch.Tensor, conditions: torch.Tensor, dropped: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The predicted noise, whatever the network predicts; arguments as of `forward`."""
        prediction = self(x, timesteps, conditions, dropped)
        if self.spec["prediction"] == "epsilon":
            return prediction
        signal, spread = self.schedule.coefficients(timesteps, x.ndim)
        return signal * prediction + spread * x

    def check_guidance(self, guidance: float, name: str = "the diffusion model") -> None:
        """ConfigError, naming the model, if it is to be guided and was never trained without conditions."""
        if guidance != 1 and self.no_condition is None:
            raise ConfigError(
                f"{name}: expected a model trained with train_diffusion.condition_dropout above 0, because generate.guidance is "
                f"{guidance:g}, found one trained without; train it again with drop-out (0.1, say) or set generate.guidance to 1"
            )


def _design(conditions: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.ones_like(conditions[:, :1]), conditions], 1)


def build(options: TrainDiffusion, latent_shape: tuple[int, ...], ranges: Ranges) -> Diffusion:
    """A new network from its section of the configuration and what the latents and covariates are like."""
    network = ("channels", "attention_levels", "head_channels", "space_to_depth", "position_channels", "res_blocks", "norm_groups")
    process = ("prediction", "timesteps", "beta_start", "beta_end")
    spec = {"kind": "diffusion", "latent_shape": latent_shape, "ranges": asdict(ranges)}
    dropout = {"condition_dropout": options.condition_dropout} if options.condition_dropout else {}
    return Diffusion(spec | {name: getattr(options, name) for name in network + process} | dropout)


def load(path: Path) -> Diffusion:
    """A trained diffusion model, frozen."""
    return checkpoint.load_network(path, "diffusion", Diffusion)
