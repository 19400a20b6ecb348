"""The rewritten networks against the plain ones, in double precision and with random weights everywhere: the same to rounding."""

import copy
from pathlib import Path

import pytest
import torch
import yaml
from lightning_fabric import Fabric

from brainldm.core.config import Sampling, parse
from brainldm.core.covariates import Ranges
from brainldm.models import autoencoder, bundle, diffusion, fast
from brainldm.models.sampling import sample_volumes

CONFIG = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text()))
RANGES = Ranges((0, 44, 10, 1000), (1, 82, 110, 1500))
PAPERS = {"channels": [8, 16, 24], "head_channels": [0, 16, 12], "norm_groups": 4, "latent_shape": [3, 4, 8, 4]}  # in small
COVARIATES = torch.tensor([[0.0, 50, 20, 1100], [1, 60, 40, 1200]]).numpy()


def networks(kind):
    """The paper's topology in small, or the demo's networks: folded, with positions and standardisation."""
    torch.manual_seed(0)
    if kind == "paper":
        denoiser = diffusion.Diffusion(bundle.DIFFUSION | PAPERS)
        coder = autoencoder.Autoencoder(bundle.AUTOENCODER | {"channels": [8, 16, 16], "norm_groups": 4, "shape": [16, 32, 16]})
    else:
        coder = autoencoder.build(CONFIG.train_autoencoder, CONFIG.grid)
        denoiser = diffusion.build(CONFIG.train_diffusion, coder.latent_shape(CONFIG.grid.shape), RANGES)
    for parameter in [*denoiser.parameters(), *coder.parameters()]:  # also those that start at zero, which would hide every fault
        torch.nn.init.normal_(parameter, std=0.15)
    return denoiser.eval().requires_grad_(False), coder.eval().requires_grad_(False)


def relative(found, expected):
    return ((found - expected).square().mean().sqrt() / expected.std()).item()


@pytest.mark.parametrize("kind", ["paper", "demo"])
@pytest.mark.parametrize(
    "levers", [*({lever} for lever in sorted(fast.LEVERS)), fast.LEVERS, ()], ids=lambda levers: "+".join(sorted(levers))
)
def test_every_lever_leaves_the_networks_as_they_are(levers, kind):
    plain = tuple(network.double() for network in networks(kind))
    quick = copy.deepcopy(plain)
    fast.prepare(*quick, torch.float64, frozenset(levers))
    x, conditions = torch.randn(2, *plain[0].latent_shape).double(), torch.rand(2, 4).double()
    t = torch.tensor([3, 900])
    assert relative(quick[0](x, t, conditions), plain[0](x, t, conditions)) <= 1e-10
    assert relative(quick[1].decode(x), plain[1].decode(x)) <= 1e-10


@pytest.mark.parametrize("kind", ["paper", "demo"])
def test_the_encoder_is_left_as_it_is(kind):
    plain = networks(kind)[1].double()
    quick = copy.deepcopy(plain)
    fast.prepare_encoder(quick, torch.float64)
    images = torch.rand(2, 1, *plain.spec["shape"]).double()
    for found, expected in zip(quick.encode(images), plain.encode(images), strict=True):
        assert relative(found, expected) <= 1e-10


@pytest.mark.parametrize("kind", ["paper", "demo"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.2)], ids=str)
def test_volumes_are_the_same_to_the_rounding_of_the_precision(kind, dtype, tolerance):
    plain = networks(kind)
    quick = copy.deepcopy(plain)
    fast.prepare(*quick, dtype)
    noise = torch.randn(2, *plain[0].latent_shape)
    volumes = [sample_volumes(*pair, COVARIATES, noise, Sampling(steps=4)) for pair in (plain, quick)]
    assert volumes[1].dtype == torch.float32
    assert relative(volumes[1], volumes[0]) < tolerance
    assert torch.equal(sample_volumes(*quick, COVARIATES, noise, Sampling(steps=4)), volumes[1])


def test_half_precision_ends_before_the_last_layers():
    """So that images have more than bfloat16's 256 values between powers of two."""
    denoiser, coder = networks("paper")
    fast.prepare(denoiser, coder, torch.bfloat16)
    image = coder.decode(torch.randn(1, *denoiser.latent_shape))
    assert len(image.unique()) > 0.9 * image.numel()
    assert {parameter.dtype for parameter in denoiser.network.inner.parameters()} == {torch.bfloat16}


def test_volumes_decoded_one_by_one_are_those_of_a_batch(monkeypatch):
    denoiser, coder = networks("paper")
    fast.prepare(denoiser, coder)
    latents = torch.randn(3, *denoiser.latent_shape)
    together = coder.decode(latents)
    monkeypatch.setattr(fast, "VOXELS_AT_ONCE", 1)
    seen = []
    coder.network.decoder.last[1].register_forward_hook(lambda module, given, found: seen.append(len(found)))
    assert torch.allclose(coder.decode(latents), together, atol=1e-4)
    assert seen == [1, 1, 1]


@pytest.mark.parametrize("kind", ["paper", "demo"])
def test_large_volumes_are_coded_in_their_own_memory_to_the_same_values(kind, monkeypatch):
    coder = networks(kind)[1].double()
    fast.prepare_encoder(coder, torch.float64)
    fast.prepare_decoder(coder, dtype=torch.float64)
    images, written = torch.rand(1, 1, *coder.spec["shape"]).double(), []
    mu = coder.encode(images)[0]
    expected = coder.decode(mu)
    normalise = fast._normalise
    monkeypatch.setattr(fast, "_normalise", lambda norm, x: written.append(x.shape) or normalise(norm, x))
    monkeypatch.setattr(fast, "LARGE", 0)
    kept = images.clone(), mu.clone()
    assert relative(coder.encode(images)[0], mu) <= 1e-10
    assert relative(coder.decode(mu), expected) <= 1e-10
    assert torch.equal(images, kept[0])
    assert torch.equal(mu, kept[1])
    assert written


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_norm_in_its_own_memory_is_the_norm(dtype):
    norm = torch.nn.GroupNorm(8, 24).to(dtype)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(1, 24, 6, 8, 6).to(dtype).to(memory_format=torch.channels_last_3d)
    expected, where = norm(x), x.data_ptr()
    found = fast._normalise(norm, x)
    assert found.data_ptr() == where
    torch.testing.assert_close(found, expected)


def test_unknown_blocks_of_a_coder_are_left_as_they_are():
    block = torch.nn.Conv3d(2, 2, 1)
    assert fast._coding(block, fast.LEVERS) is block


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_the_precision_is_the_fabrics(precision, dtype):
    assert fast.compute_dtype(Fabric(accelerator="cpu", precision=precision)) == dtype


@pytest.mark.slow
def test_compiled_networks_give_the_same_volumes():
    plain = networks("demo")
    quick = copy.deepcopy(plain)
    fast.prepare(*quick, compiled=True)
    noise = torch.randn(2, *plain[0].latent_shape)
    volumes = [sample_volumes(*pair, COVARIATES, noise, Sampling(steps=4)) for pair in (plain, quick)]
    assert relative(volumes[1], volumes[0]) < 1e-4
