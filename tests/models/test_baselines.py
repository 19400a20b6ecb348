"""The paper's competitors: losses as published, gradients that go where they should, volumes of any size."""

import copy

import pytest
import torch
from scans import TINY

from brainldm.core.grid import Grid
from brainldm.models import baselines
from brainldm.models.training import Optimizer, make_fabric

OPTIONS = TINY.train_baseline
SIDES = TINY.grid.shape


@pytest.fixture
def trained(request: pytest.FixtureRequest) -> tuple[Optimizer, Optimizer, torch.Tensor, torch.Tensor]:
    """Optimizers of the method's network and critic, images and noise."""
    fabric = make_fabric("cpu", "32-true", 0)
    generator, network, critic = baselines.build(OPTIONS, request.param, TINY.grid)
    images, noise = torch.randn(4, 1, *SIDES), torch.randn(2, 4, *generator.noise_shape)
    return Optimizer(fabric, network, OPTIONS), Optimizer(fabric, critic, OPTIONS), images, noise


def scores(critic: torch.nn.Module, images: torch.Tensor) -> list[float]:
    return [float(critic(image[None])[1].detach()) for image in images]


@pytest.mark.parametrize("trained", ["lsgan"], indirect=True)
def test_lsgans_losses_are_those_of_mao(trained: tuple[Optimizer, Optimizer, torch.Tensor, torch.Tensor]) -> None:
    generator, critic, images, noise = trained
    before, judge = copy.deepcopy(generator.network.module), copy.deepcopy(critic.network.module)
    found = baselines.lsgan_step(generator, critic, images, noise, OPTIONS)
    made, real = scores(judge, before(noise[0])), scores(judge, images)
    assert float(found["generator"]) == pytest.approx(sum((score - 1) ** 2 for score in made) / 4 / 2, rel=1e-4)
    expected = sum((score - 1) ** 2 for score in real) / 4 / 2 + sum(score**2 for score in made) / 4 / 2
    assert float(found["critic"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("trained", ["vaegan"], indirect=True)
def test_vaegans_losses_are_those_of_larsen(trained: tuple[Optimizer, Optimizer, torch.Tensor, torch.Tensor]) -> None:
    coder, critic, images, noise = trained
    before, judge = copy.deepcopy(coder.network.module), copy.deepcopy(critic.network.module)
    found = baselines.vaegan_step(coder, critic, images, noise, OPTIONS)
    mu, log_variance = before.encoder(images)[1].chunk(2, 1)
    normal = torch.distributions.Normal(mu, torch.exp(log_variance / 2))
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert float(found["kl"]) == pytest.approx(float(kl), rel=1e-4)
    again = before.generator((mu + torch.exp(log_variance / 2) * noise[0].flatten(1))[..., None, None, None])
    likelihood = torch.stack([((judge(a[None])[0] - judge(b[None])[0]) ** 2).sum() / 2 for a, b in zip(again, images, strict=True)]).mean()
    assert float(found["likelihood"]) == pytest.approx(float(likelihood), rel=1e-3)
    shares = [torch.sigmoid(torch.tensor(scores(judge, volumes))) for volumes in (images, again, before.generator(noise[1]))]
    critics = -sum(torch.log(values).mean() for values in (shares[0], 1 - shares[1], 1 - shares[2]))
    assert float(found["critic"]) == pytest.approx(float(critics), rel=1e-3)


def test_the_adversarial_gradient_does_not_reach_the_encoder() -> None:
    generator, coder, _ = baselines.build(OPTIONS, "vaegan", TINY.grid)
    reconstructed, judged, _, _ = coder(torch.randn(2, 1, *SIDES), torch.randn(2, 2, *generator.noise_shape))
    judged.sum().backward()
    assert isinstance(coder, baselines.VaeGan)
    assert all(parameter.grad is None for parameter in coder.encoder.parameters())
    assert generator.start.weight.grad is not None
    assert torch.allclose(judged[:2], reconstructed, atol=1e-5)


@pytest.mark.parametrize("shape", [(17, 22, 15), (8, 8, 8)])
@pytest.mark.parametrize("fold", [1, 4])
def test_volumes_of_any_size(shape: tuple[int, int, int], fold: int) -> None:
    grid = Grid(shape=shape, spacing_mm=5.0, center_mm=(0.0, 0.0, 0.0))
    generator, _, critic = baselines.build(OPTIONS.model_copy(update={"space_to_depth": fold}), "lsgan", grid)
    images = generator.decode(torch.randn(2, *generator.noise_shape))
    assert images.shape == (2, 1, *shape)
    assert critic(images)[1].shape == (2, 1)
