"""CPU time of a synthetic volume: the engine of `brainldm generate` against the published bundle's sampling loop, and lever by lever.

python benchmarks/generate.py [--size reduced|full|both] [--steps 2] [--volume-steps 50] [--rounds 2]

Both sides are given the same networks (the published architecture, random weights), the same noise and the same rows. They run `--steps`
steps of DDIM, one decode and one file each, in turn; the cost of a volume is put together from them for `--volume-steps` steps, because
fifty at full size would take an hour and every step costs the same. The bundle's loop is written from its description: one volume at a
time (the first row is timed), the U-Net in float32, decode under autocast (which does nothing on a CPU), crop, stretch to uint8,
nibabel's .nii.gz. Ours: the rewritten networks, all rows in one batch, bfloat16 where the CPU multiplies it in hardware, int16 files.
One thread, CPU seconds. The peak is what a side adds to the memory in use, and its weights.
"""

import argparse
import copy
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from monai.networks.schedulers.ddim import DDIMScheduler

from brainldm.core.config import Sampling
from brainldm.core.grid import Grid
from brainldm.formats.nifti import encode_volume, quantise, write_bytes
from brainldm.models import autoencoder, bundle, diffusion, fast
from brainldm.models.noise import row_noise
from brainldm.models.sampling import sample_latents

LATENTS = {"reduced": (3, 8, 12, 8), "full": (3, 20, 28, 20)}
COVARIATES = np.array([[0, 50, 20, 1300], [1, 70, 60, 1500], [0, 80, 90, 1100], [1, 60, 40, 1400]], float)
BATCH = len(COVARIATES)
NEEDED_GB = 14
FOLDS = ("context", "time", "attention", "upsample")  # in the order of the rows
HALF = torch.bfloat16 if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported() else torch.float32


class Pair(NamedTuple):
    """Two networks."""

    denoiser: Any
    coder: Any


class Cost(NamedTuple):
    """CPU seconds of one evaluation of the U-Net for one volume, of one decode, of one file; peak memory."""

    step: float
    decode: float
    write: float
    peak_gb: float

    def volume(self, steps: int) -> float:
        return steps * self.step + self.decode + self.write


def random_networks(latent_shape: tuple[int, ...]) -> Pair:
    """The published architecture; weights keep the size of what passes through them, also where training starts from zero."""
    torch.manual_seed(0)
    denoiser = diffusion.Diffusion(bundle.DIFFUSION | {"latent_shape": list(latent_shape)})
    coder = autoencoder.Autoencoder(bundle.AUTOENCODER | {"shape": [8 * side for side in latent_shape[1:]]})
    with torch.no_grad():
        for network in (denoiser.network, coder.network):
            for parameter in network.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=0.7 * parameter[0].numel() ** -0.5)
    return Pair(denoiser.eval().requires_grad_(False), coder.eval().requires_grad_(False))


def prepared(plain: Pair, dtype: torch.dtype, levers: tuple[str, ...]) -> Pair:
    """A rewritten copy."""
    pair = copy.deepcopy(plain)
    fast.prepare(*pair, dtype, frozenset(levers))
    return pair


def measured(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def memory_gb(file: str, name: str) -> float:
    """A line of a file of /proc, in GB."""
    return next(int(line.split()[1]) for line in Path(file).read_text().splitlines() if line.startswith(f"{name}:")) / 1e6


def start_of_peak(side: Pair) -> float:
    """Forget this process' peak; what is to be taken off the next to leave what a side needs by itself."""
    Path("/proc/self/clear_refs").write_text("5")
    weights = (*side.denoiser.parameters(), *side.denoiser.buffers(), *side.coder.parameters())
    return memory_gb("/proc/self/status", "VmRSS") - sum(tensor.nbytes for tensor in weights) / 1e9


def peak_gb(start: float) -> float:
    return memory_gb("/proc/self/status", "VmHWM") - start


@torch.inference_mode()
def bundles_loop(plain: Pair, noise: torch.Tensor, steps: int, folder: Path) -> tuple[Cost, torch.Tensor, torch.Tensor]:
    """The first of the rows, as the bundle makes it; its latent and its image, turned as ours is."""
    start = start_of_peak(plain)
    unet, coder = plain.denoiser.network, plain.coder.network
    scheduler = DDIMScheduler(1000, schedule="scaled_linear_beta", beta_start=0.0015, beta_end=0.0205, clip_sample=False)
    scheduler.set_timesteps(steps)
    scheduler.timesteps = torch.arange(steps - 1, -1, -1) * (1000 // steps)  # its own timesteps: see docs/bundle.md
    condition = torch.from_numpy(plain.denoiser.ranges.scale(COVARIATES[:1]))[:, None]
    maps = condition[:, 0, :, None, None, None].expand(-1, -1, *noise.shape[2:])

    def sample() -> torch.Tensor:
        x = noise[:1]
        for timestep in scheduler.timesteps:
            prediction = unet(torch.cat([x, maps], 1), timesteps=torch.Tensor((timestep,)).long(), context=condition)
            x, _ = scheduler.step(prediction, timestep, x)
        return x

    def write() -> None:
        image = images.numpy()[0, 0, 5:-5, 5:-5, :-15]
        image = ((image - image.min()) / (image.max() - image.min()) * 255).astype(np.uint8)
        nib.save(nib.Nifti1Image(image, np.eye(4), nib.Nifti1Header()), folder / "bundle.nii.gz")

    in_all, x = measured(sample)
    decode, images = measured(lambda: coder.decode_stage_2_outputs(x))
    return Cost(in_all / steps, decode, measured(write)[0], peak_gb(start)), x, images.flip(2)  # theirs runs from right to left


@torch.inference_mode()
def our_engine(ours: Pair, noise: torch.Tensor, steps: int, folder: Path) -> tuple[Cost, torch.Tensor]:
    """All rows, as the stage generate makes them; the image of the first."""
    start, n = start_of_peak(ours), len(noise)
    in_all, latents = measured(lambda: sample_latents(ours.denoiser, COVARIATES[:n], noise, Sampling(steps=steps)))
    decode, images = measured(lambda: ours.coder.decode(latents[:1]))
    grid = Grid(shape=images.shape[2:], spacing_mm=1, center_mm=(0, 0, 0))
    write, _ = measured(lambda: write_bytes(folder / "ours.nii.gz", encode_volume(quantise(images[0, 0].numpy()), grid, "benchmark")))
    return Cost(in_all / steps / n, decode, write, peak_gb(start)), images


def largest(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, as a fraction of the range of what is expected."""
    return ((found - expected).abs().max() / (expected.max() - expected.min())).item()


def rms(found: torch.Tensor, expected: torch.Tensor) -> float:
    """As a fraction of the spread of what is expected."""
    return ((found - expected).square().mean().sqrt() / expected.std()).item()


def variants() -> dict[str, tuple[torch.dtype, tuple[str, ...]]]:
    """Levers, one after another on top of those before."""
    rows = {"rewritten, no lever": (torch.float32, ())}
    rows |= {f"+ {lever}": (torch.float32, FOLDS[: place + 1]) for place, lever in enumerate(FOLDS)}
    if HALF is torch.bfloat16:
        rows["+ bf16"] = (HALF, FOLDS)
    return rows | {"+ channels_last": (HALF, (*FOLDS, "channels_last")), "+ matmul": (HALF, (*FOLDS, "channels_last", "matmul"))}


@torch.inference_mode()
def lever_rows(plain: Pair, noise: torch.Tensor, theirs: Cost, latent: torch.Tensor, image: torch.Tensor, volume_steps: int) -> None:
    """A row per lever: one evaluation, and one decode where it changes the decoder, against the plain networks'."""
    conditions, t = torch.rand(BATCH, 4, generator=torch.Generator().manual_seed(1)), torch.full((BATCH,), 500)
    expected, decode, apart = plain.denoiser(noise[:1], t[:1], conditions[:1]), theirs.decode, 0.0
    print("lever, on top of those above       CPU-s: evaluation  decode  volume   ratio   largest difference: U-Net  decoder")
    for name, (dtype, levers) in variants().items():
        pair = prepared(plain, dtype, levers)
        step, found = measured(lambda pair=pair: pair.denoiser(noise[:1], t[:1], conditions[:1]))
        if not levers or levers[-1] in ("upsample", "channels_last"):
            decode, images = measured(lambda pair=pair: pair.coder.decode(latent))
            apart = largest(images, image)
        print_row(name, step, decode, volume_steps, theirs, f"{largest(found, expected):24.1e} {apart:8.1e}")
    print_row(f"+ a batch of {BATCH}", measured(lambda: pair.denoiser(noise, t, conditions))[0] / BATCH, decode, volume_steps, theirs, "")


def print_row(name: str, step: float, decode: float, volume_steps: int, theirs: Cost, differences: str) -> None:
    volume = volume_steps * step + decode
    print(f"{name:40s} {step:10.2f} {decode:8.2f} {volume:7.1f} {theirs.volume(volume_steps) / volume:7.2f}{differences}", flush=True)


def compare(size: str, steps: int, volume_steps: int, rounds: int) -> dict[str, Any]:
    """Both sides in turn, and the levers; figures of the last line."""
    noise = torch.stack([row_noise(0, index, LATENTS[size]) for index in range(BATCH)])
    plain = random_networks(LATENTS[size])
    ours, costs = prepared(plain, HALF, tuple(fast.LEVERS)), []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            theirs, latent, expected = bundles_loop(plain, noise, steps, Path(folder))
            mine, found = our_engine(ours, noise, steps, Path(folder))
            costs.append((theirs, mine))
            print(f"  bundle {theirs}\n  ours   {mine}", flush=True)
        if size == "reduced":
            exact = our_engine(prepared(plain, torch.float32, tuple(fast.LEVERS)), noise[:1], steps, Path(folder))[1]
            print(f"ours in float32: largest difference of an image {largest(exact, expected):.1e} of its range")
    del ours
    theirs, mine = (Cost(*np.min(side, axis=0).tolist()) for side in zip(*costs, strict=True))
    ratio, apart = theirs.volume(volume_steps) / mine.volume(volume_steps), largest(found, expected)
    print(f"{size}: CPU-s a volume of {volume_steps} steps: bundle {theirs.volume(volume_steps):.1f}, ours {mine.volume(volume_steps):.1f}")
    print(f"ratio {ratio:.2f}; largest difference of an image {apart:.1e} of its range, rms {rms(found, expected):.1e} of its spread")
    if size == "reduced":  # at full size the levers would take an hour
        lever_rows(plain, noise, theirs, latent, expected, volume_steps)
    seconds = {"bundle_cpu_s": round(theirs.volume(volume_steps), 1), "ours_cpu_s": round(mine.volume(volume_steps), 1)}
    peaks = {"bundle_peak_gb": round(theirs.peak_gb, 1), "ours_peak_gb": round(mine.peak_gb, 1)}
    return {"size": size, "ratio": round(ratio, 2), "max_difference": float(f"{apart:.2e}"), **seconds, **peaks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("reduced", "full", "both"), default="both")
    parser.add_argument("--steps", type=int, default=2, help="steps that are run")
    parser.add_argument("--volume-steps", type=int, default=50, help="steps of the volume whose cost is put together")
    parser.add_argument("--rounds", type=int, default=2, help="times that both sides run, in turn; the least counts")
    given = parser.parse_args()
    torch.set_num_threads(1)
    about = "bfloat16 in hardware" if HALF is torch.bfloat16 else "no bfloat16 in hardware, so float32 on both sides"
    print(f"{platform.machine()}, {about}, torch {torch.__version__}, 1 thread; {given.steps} steps run, {given.volume_steps} put together")
    for size in ("reduced", "full") if given.size == "both" else (given.size,):
        if size == "full" and memory_gb("/proc/meminfo", "MemAvailable") < NEEDED_GB:
            raise SystemExit(f"the full size needs {NEEDED_GB} GB of free memory; found {memory_gb('/proc/meminfo', 'MemAvailable'):.1f}")
        figures = compare(size, given.steps, given.volume_steps, given.rounds)
    print(json.dumps(figures | {"steps_run": given.steps, "steps": given.volume_steps}))


if __name__ == "__main__":
    main()
