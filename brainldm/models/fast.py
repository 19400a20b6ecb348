"""The same networks, cheaper: exact rewrites of MONAI's U-Net and decoder for sampling, made after loading; nothing is trained with them.

Levers: `context` folds the cross-attention to a single token, where the softmax is 1 whatever the query, into one vector a block; `time`
takes the projected time embeddings from a table; `attention` is torch's fused one; `upsample` computes "twice as fine by nearest
neighbour, then convolve" from the coarse voxels; `channels_last` keeps the channels of a voxel side by side in memory; `matmul` makes
convolutions on small grids one matrix product, on CPUs, whose own kernels for them waste most of a vector register.
"""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from monai.networks.blocks.selfattention import SABlock
from monai.networks.blocks.upsample import UpSample
from monai.networks.nets import diffusion_model_unet as monai_unet
from monai.networks.nets.autoencoderkl import AEKLResBlock
from torch import nn

from brainldm.models.autoencoder import Autoencoder
from brainldm.models.convolution import Conv, UpConv
from brainldm.models.diffusion import Diffusion

LEVERS = frozenset({"context", "time", "attention", "upsample", "channels_last", "matmul"})
VOXELS_AT_ONCE = 160 * 224 * 160  # decoded together: one volume of the paper's size, more of smaller ones; bounds the memory
LARGE = 2**28  # values of one volume, above which a residual block of a coder writes over what it is given


def compute_dtype(fabric: Fabric) -> torch.dtype:
    """What the fabric's precision computes in: bfloat16 for bf16-mixed, float32 for 32-true."""
    kind = fabric.device.type
    with fabric.autocast():
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


def prepare(
    diffusion: Diffusion,
    autoencoder: Autoencoder,
    dtype: torch.dtype = torch.float32,
    levers: frozenset[str] = LEVERS,
    compiled: bool = False,
) -> None:
    """Rewrite the U-Net and the decoder in place, to compute in `dtype`; to be called without autocast from then on.

    What goes in and out, the tables and the last norm and convolution keep the type they had, so a sampler's state does, too.
    """
    prepare_unet(diffusion, dtype, levers, compiled)
    prepare_decoder(autoencoder, dtype, levers, compiled)


def prepare_unet(diffusion: Diffusion, dtype: torch.dtype = torch.float32, levers: frozenset[str] = LEVERS, compiled: bool = False) -> None:
    """Rewrite the U-Net alone."""
    diffusion.network = _ready(Unet(diffusion.network, len(diffusion.schedule.alpha_bar), levers), dtype, levers, compiled)


def prepare_decoder(
    autoencoder: Autoencoder, dtype: torch.dtype = torch.float32, levers: frozenset[str] = LEVERS, compiled: bool = False
) -> None:
    """Rewrite the decoder alone: what decodes latents that others have sampled, bit for bit as `prepare` does."""
    autoencoder.network.decoder = _ready(Coder(autoencoder.network.decoder, levers), dtype, levers, compiled)


def prepare_encoder(autoencoder: Autoencoder, dtype: torch.dtype = torch.float32) -> None:
    """Rewrite the encoder alone: its residual blocks, which at full size hold most of the memory."""
    autoencoder.network.encoder = _ready(Coder(autoencoder.network.encoder, LEVERS), dtype, LEVERS, False)


def _ready(network: Any, dtype: torch.dtype, levers: frozenset[str], compiled: bool) -> Any:
    layout = torch.channels_last_3d if "channels_last" in levers else torch.contiguous_format
    network.inner.to(dtype)
    network.eval().requires_grad_(False).to(memory_format=layout)
    if compiled:
        network.compile()
    return network


class Unet(nn.Module):
    """MONAI's DiffusionModelUNet for latents x [N,C,i,j,k], timesteps [N] and one context token [N,1,D]."""

    def __init__(self, network: Any, timesteps: int, levers: frozenset[str]) -> None:
        super().__init__()
        resnets = _all(network, monai_unet.DiffusionUNetResnetBlock)
        self.times: nn.Module = Times(network, resnets)
        if "time" in levers:
            self.times = Table(self.times(torch.arange(timesteps, device=network.conv_in.conv.weight.device)))
        self.context = fold_context(_all(network, monai_unet.DiffusionUNetTransformerBlock)) if "context" in levers else nn.Identity()
        for attention in _all(network, SABlock) if "attention" in levers else ():
            attention.use_flash_attention, attention.attention_dtype = True, None
        made: dict[nn.Module, nn.Module] = {module: Transformer(module) for module in _all(network, monai_unet.SpatialTransformer)}
        for module, rows in zip(resnets, _slices(module.out_channels for module in resnets), strict=True):
            made[module] = ResBlock(module, module.skip_connection, levers, rows)
        _replace(network, made)
        names = {"first": "conv_in", "down": "down_blocks", "middle": "middle_block", "up": "up_blocks"}
        self.inner: Any = nn.ModuleDict({name: getattr(network, theirs) for name, theirs in names.items()})
        self.last: Any = network.out

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """The network's prediction, as its own forward pass gives it."""
        h = x.to(self.inner["first"].conv.weight.dtype)
        rows = (self.times(timesteps).to(h), self.context(context).to(h))
        h = self.inner["first"](h)
        skipped = [h]
        for block in self.inner["down"]:
            h, found = block(h, *rows)
            skipped += found
        h = self.inner["middle"](h, *rows)
        for block in self.inner["up"]:
            n = len(block.resnets)
            h, skipped = block(h, skipped[-n:], *rows), skipped[:-n]
        return self.last(h.to(self.last[0].weight.dtype))


def _all(network: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, kind)]


def _replace(network: nn.Module, made: dict[nn.Module, nn.Module]) -> None:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if child in made:
                setattr(parent, name, made[child])


def _slices(sizes: Iterable[int]) -> list[slice]:
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    return [slice(start, end) for start, end in pairwise(ends)]


class Times(nn.Module):
    """Timesteps [N] -> the time embedding as all residual blocks want it, side by side [N,sum of their channels]."""

    def __init__(self, network: Any, resnets: list[Any]) -> None:
        super().__init__()
        self.embed, self.channels = network.time_embed, network.block_out_channels[0]
        self.project = _side_by_side([(module.time_emb_proj.weight, module.time_emb_proj.bias) for module in resnets])

    def forward(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Rows for timesteps [N]."""
        waves = monai_unet.get_timestep_embedding(timesteps, self.channels).to(self.project.weight)
        return self.project(F.silu(self.embed(waves)))


class Table(nn.Module):
    """Rows of a table, by their numbers."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows = nn.Buffer(rows.detach())

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Rows [N,...] of these numbers [N]."""
        return self.rows[numbers]


class Row(nn.Module):
    """In place of a cross-attention: this block's part of the folded context."""

    def __init__(self, rows: slice) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """The same [N,1,C] for every token."""
        return context[:, None, self.rows]


def fold_context(blocks: list[Any]) -> nn.Module:
    """Take the cross-attention out of the blocks: one linear map from the token [N,1,D] to what it gives them all [N,sum of channels]."""
    attentions = [block.attn2 for block in blocks]
    maps = [(attention.out_proj.weight @ attention.to_v.weight, attention.out_proj.bias) for attention in attentions]
    for block, rows in zip(blocks, _slices(len(bias) for _, bias in maps), strict=True):
        block.attn2, block.norm2 = Row(rows), nn.Identity()
    return nn.Sequential(nn.Flatten(), _side_by_side(maps))


def _side_by_side(maps: list[tuple[torch.Tensor, torch.Tensor]]) -> nn.Linear:
    """One linear layer in place of several with the same input."""
    weight, bias = (torch.cat(parts).detach() for parts in zip(*maps, strict=True))
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return linear


class Transformer(nn.Module):
    """MONAI's SpatialTransformer without its copies between layouts."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm, self.proj_in, self.blocks, self.proj_out = block.norm, block.proj_in, block.transformer_blocks, block.proj_out

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Voxels [N,C,i,j,k] that have attended to all."""
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, context)
        return x + self.proj_out(tokens.transpose(1, 2).reshape(len(x), -1, *x.shape[2:]))


class ResBlock(nn.Module):
    """A residual block of either network, with as few tensors of its size as can be; `rows` is its part of the time embedding."""

    def __init__(self, block: Any, skip: nn.Module, levers: frozenset[str], rows: slice | None = None) -> None:
        super().__init__()
        self.norm1, self.norm2, self.skip, self.rows = block.norm1, block.norm2, skip, rows
        self.conv1: nn.Module = Conv(block.conv1.conv, levers)
        self.conv2 = Conv(block.conv2.conv, levers)
        self.resample: nn.Module = nn.Identity()
        if getattr(block, "upsample", None) is not None:
            self.resample = nn.Upsample(scale_factor=2)
        elif getattr(block, "downsample", None) is not None:
            self.resample = HalfAsFine()
        if isinstance(self.resample, nn.Upsample) and "upsample" in levers:
            self.conv1 = UpConv(block.conv1.conv, levers)
        elif not isinstance(self.resample, nn.Identity):
            self.conv1 = nn.Sequential(self.resample, self.conv1)

    def forward(self, x: torch.Tensor, times: torch.Tensor | None = None) -> torch.Tensor:
        """Voxels [N,C,i,j,k], on the finer or coarser grid if it leads there."""
        h = self.conv1(F.silu(self.norm1(x), inplace=True))
        if times is not None:
            h += times[:, self.rows, None, None, None]
        h = self.conv2(F.silu(self.norm2(h), inplace=True))
        h += self.skip(self.resample(x))
        return h


class HalfAsFine(nn.Module):
    """Means of 2 x 2 x 2 voxels; by way of float32, because CPUs have no kernel for less."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Voxels [N,C,i,j,k] to [N,C,i/2,j/2,k/2]."""
        return F.avg_pool3d(x.to(torch.promote_types(x.dtype, torch.float32)), 2).to(x.dtype)


class Coder(nn.Module):
    """MONAI's decoder of latents [N,C,i,j,k], or its encoder; some volumes at a time, so that memory does not grow with the batch."""

    def __init__(self, network: Any, levers: frozenset[str]) -> None:
        super().__init__()
        *inner, norm, conv = network.blocks
        self.inner = nn.ModuleList(_coding(block, levers) for block in inner)
        self.last: Any = nn.Sequential(norm, conv)
        self.finer = 8 ** sum(isinstance(block, UpSample) for block in inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images of latents, or features of images, as the network's own forward pass gives them."""
        at_once = max(1, VOXELS_AT_ONCE // (x[0, 0].numel() * self.finer))
        return torch.cat([self._code(part) for part in x.split(at_once)])

    def _code(self, h: torch.Tensor) -> torch.Tensor:
        h = h.to(next(self.inner.parameters()).dtype)
        for block in self.inner:
            if isinstance(block, ResBlock) and h[0].numel() > LARGE:  # as ResBlock.forward, but nobody holds what is done with
                skipped = block.skip(h)
                h = block.conv1(F.silu(_normalise(block.norm1, h.clone() if skipped is h else h), inplace=True))
                h = block.conv2(F.silu(_normalise(block.norm2, h), inplace=True))
                h += skipped
                del skipped
            else:
                h = block(h)
        norm, conv = self.last
        h = h.to(norm.weight.dtype)
        return conv(_normalise(norm, h) if h[0].numel() > LARGE else norm(h))


def _normalise(norm: Any, x: torch.Tensor) -> torch.Tensor:
    """A group norm that writes over x, some of the groups at a time."""
    parts = math.gcd(4, norm.num_groups)
    for values, weight, bias in zip(x.chunk(parts, 1), norm.weight.chunk(parts), norm.bias.chunk(parts), strict=True):
        values.copy_(F.group_norm(values, norm.num_groups // parts, weight, bias, norm.eps))
    return x


def _coding(block: Any, levers: frozenset[str]) -> nn.Module:
    if isinstance(block, AEKLResBlock):
        return ResBlock(block, block.nin_shortcut, levers)
    if isinstance(block, UpSample) and "upsample" in levers and block.upsample_non_trainable.mode == "nearest":
        return UpConv(block.get_submodule("postconv.conv"), levers)
    return block
