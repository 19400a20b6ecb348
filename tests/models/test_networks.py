"""Networks and checkpoints: shapes, inverses, and weights that carry their own architecture."""

from pathlib import Path

import pytest
import torch
import yaml

from brainldm.core.config import Sampling, parse
from brainldm.core.covariates import Ranges
from brainldm.core.errors import ConfigError, DataError
from brainldm.core.labels import DEMO
from brainldm.models import autoencoder, checkpoint, diffusion, segmenter
from brainldm.models.folding import depth_to_space, space_to_depth
from brainldm.models.noise import fresh_noise, row_noise
from brainldm.models.sampling import sample_volumes

CONFIG = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text()))
RANGES = Ranges((0, 44, 10, 1000), (1, 82, 110, 1500))
LATENT = (3, 4, 6, 4)  # of the tiny grid


def tiny_diffusion(**changes):
    torch.manual_seed(0)
    network = diffusion.build(CONFIG.train_diffusion.model_copy(update=changes), LATENT, RANGES).eval()
    for parameter in network.parameters():  # the last layers start at zero, which would hide every fault
        torch.nn.init.normal_(parameter, std=0.05)
    return network


def test_space_to_depth_is_undone_by_depth_to_space():
    volumes = torch.randn(2, 3, 8, 12, 4)
    folded = space_to_depth(volumes, 2)
    assert folded.shape == (2, 24, 4, 6, 2)
    assert torch.equal(depth_to_space(folded, 2), volumes)
    assert torch.equal(folded[0, 8:16, 1, 2, 1], volumes[0, 1, 2:4, 4:6, 2:4].reshape(8))
    assert torch.equal(space_to_depth(volumes, 1), volumes)


def test_the_latent_has_the_shape_that_is_promised():
    network = autoencoder.build(CONFIG.train_autoencoder, CONFIG.grid)
    mu, sigma = network.encode(torch.rand(1, 1, *CONFIG.grid.shape))
    assert tuple(mu.shape[1:]) == tuple(sigma.shape[1:]) == network.latent_shape(CONFIG.grid.shape)
    assert network.decode(mu).shape == (1, 1, *CONFIG.grid.shape)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_gives_back_the_noise(prediction):
    network = tiny_diffusion(prediction=prediction)
    clean, noise = torch.randn(4, *LATENT), torch.randn(4, *LATENT)
    timesteps = torch.tensor([0, 300, 700, 999])
    signal, spread = network.schedule.coefficients(timesteps, clean.ndim)
    network.forward = lambda x, t, conditions, dropped: network.target(clean, noise, timesteps)
    found = network.epsilon(signal * clean + spread * noise, timesteps, torch.zeros(4, 4))
    assert torch.allclose(found, noise, atol=1e-4)


def test_every_covariate_reaches_the_prediction_by_both_ways():
    network = tiny_diffusion()
    x, timesteps = torch.randn(1, *LATENT), torch.tensor([500])
    plain = network(x, timesteps, torch.zeros(1, 4))
    for covariate in range(4):
        moved = torch.zeros(1, 4)
        moved[0, covariate] = 1
        assert not torch.allclose(network(x, timesteps, moved), plain, atol=1e-5)
        maps = moved[:, :, None, None, None].expand(-1, -1, *LATENT[1:])
        maps_only = network.network(torch.cat([x, maps, network.where], 1), timesteps, torch.zeros(1, 1, 4))
        context_only = network.network(torch.cat([x, 0 * maps, network.where], 1), timesteps, moved[:, None])
        assert not torch.allclose(maps_only, plain, atol=1e-6)
        assert not torch.allclose(context_only, plain, atol=1e-6)


def test_a_dropped_row_sees_no_covariate_by_either_way_and_leaves_its_neighbours_alone():
    network = tiny_diffusion(condition_dropout=0.1)
    x, timesteps, conditions = torch.randn(2, *LATENT), torch.tensor([200, 700]), torch.rand(2, 4)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    hook = lambda module, args, kwargs: seen.append((args[0][:, LATENT[0] : LATENT[0] + 4], kwargs["context"][:, 0]))  # noqa: E731
    network.network.register_forward_pre_hook(hook, with_kwargs=True)
    mixed = network(x, timesteps, conditions, torch.tensor([True, False]))
    maps, token = seen[0]
    assert torch.equal(maps, token[:, :, None, None, None].expand_as(maps))
    assert torch.equal(token, torch.stack([network.no_condition, conditions[1]]))
    other = network(x, timesteps, 1 - conditions, torch.tensor([True, True]))
    assert torch.equal(mixed[0], other[0])
    assert torch.equal(mixed[1], network(x, timesteps, conditions)[1])
    mixed.sum().backward()
    assert network.no_condition.grad.abs().min() > 0


def test_drop_out_changes_neither_the_weights_nor_the_files_of_a_model_without_it(tmp_path):
    plain, able = tiny_diffusion(), tiny_diffusion(condition_dropout=0.1)
    assert set(able.state_dict()) - set(plain.state_dict()) == {"no_condition"}
    assert "condition_dropout" not in plain.spec
    torch.manual_seed(0)
    one = diffusion.build(CONFIG.train_diffusion, LATENT, RANGES).state_dict()
    torch.manual_seed(0)
    two = diffusion.build(CONFIG.train_diffusion.model_copy(update={"condition_dropout": 0.1}), LATENT, RANGES).state_dict()
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    checkpoint.save(tmp_path / "able.safetensors", able.state_dict(), able.spec)
    assert torch.equal(diffusion.load(tmp_path / "able.safetensors").no_condition, able.no_condition)


def test_guidance_of_one_is_what_it_was_and_costs_one_evaluation_a_step():
    network, decoder = tiny_diffusion(condition_dropout=0.1), autoencoder.build(CONFIG.train_autoencoder, CONFIG.grid).eval()
    noise, covariates = torch.randn(2, *LATENT), torch.tensor([[0, 50, 20, 1100], [1, 60, 40, 1200]]).numpy()
    calls: list[torch.Tensor] = []
    network.register_forward_hook(lambda module, args, output: calls.append(output))
    plain = sample_volumes(network, decoder, covariates, noise, Sampling(steps=3))
    assert len(calls) == 3
    assert torch.equal(sample_volumes(network, decoder, covariates, noise, Sampling(steps=3, guidance=1.0)), plain)
    assert len(calls) == 6
    guided, swapped = (sample_volumes(network, decoder, covariates, noise, Sampling(steps=3, guidance=g)) for g in (2.0, 0.0))
    assert len(calls) == 18
    assert not torch.allclose(guided, plain, atol=1e-5)
    other = sample_volumes(network, decoder, covariates[::-1].copy(), noise, Sampling(steps=3, guidance=0.0))
    assert torch.equal(other, swapped)  # at 0 the covariates say nothing


def test_a_model_trained_without_drop_out_is_not_guided():
    network, decoder = tiny_diffusion(), autoencoder.build(CONFIG.train_autoencoder, CONFIG.grid).eval()
    with pytest.raises(ConfigError, match=r"condition_dropout above 0, because generate\.guidance is 2"):
        sample_volumes(network, decoder, torch.zeros(1, 4).numpy(), torch.randn(1, *LATENT), Sampling(steps=3, guidance=2.0))


def test_a_checkpoint_carries_its_architecture(tmp_path):
    network = tiny_diffusion()
    checkpoint.save(tmp_path / "model.safetensors", network.state_dict(), network.spec)
    loaded = diffusion.load(tmp_path / "model.safetensors")
    x, timesteps, conditions = torch.randn(2, *LATENT), torch.tensor([3, 900]), torch.rand(2, 4)
    assert torch.allclose(loaded(x, timesteps, conditions), network(x, timesteps, conditions), atol=1e-6)
    assert loaded.ranges == RANGES
    assert loaded.latent_shape == LATENT
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_checkpoint_that_is_not_one_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.safetensors"):
        diffusion.load(tmp_path / "absent.safetensors")
    network = segmenter.build(CONFIG.train_segmenter, CONFIG.grid, DEMO)
    path = tmp_path / "segmenter.safetensors"
    checkpoint.save(path, network.state_dict(), network.spec)
    with pytest.raises(DataError, match=r"'diffusion'.*'segmenter'"):
        diffusion.load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"segmenter\.safetensors"):
        segmenter.load(path)
    checkpoint.save(path, {"a": torch.zeros(1)}, network.spec)
    with pytest.raises(DataError, match="weights do not fit"):
        segmenter.load(path)


@pytest.mark.parametrize("how", [Sampling(steps=3), Sampling(steps=3, eta=0.5), Sampling(steps=3, sampler="ddpm")], ids=str)
def test_a_sampled_row_does_not_depend_on_its_neighbours(how):
    network, decoder = tiny_diffusion(), autoencoder.build(CONFIG.train_autoencoder, CONFIG.grid).eval()
    keys, swapped = [(7, index) for index in range(4)], [3, 2, 1, 0]
    covariates = torch.tensor([[0, 50, 20, 1100], [1, 60, 40, 1200], [0, 70, 60, 1300], [1, 80, 90, 1400]]).numpy()
    noise = torch.stack([row_noise(*key, LATENT) for key in keys])
    together = sample_volumes(network, decoder, covariates, noise, how, fresh_noise(keys, LATENT))
    others = sample_volumes(network, decoder, covariates[swapped], noise[swapped], how, fresh_noise(keys[::-1], LATENT))
    assert torch.equal(together, others[swapped])


def test_standardised_latents_are_undone_and_hold_no_linear_trend():
    network = tiny_diffusion()
    conditions = torch.rand(50, 4)
    trend = torch.randn(4, *LATENT)
    latents = 3 + torch.einsum("nk,k...->n...", conditions, trend) + 0.1 * torch.randn(50, *LATENT)
    network.standardise(latents, conditions)
    modelled = network.from_latents(latents, conditions)
    assert torch.allclose(network.to_latents(modelled, conditions), latents, atol=1e-4)
    assert modelled.std().item() == pytest.approx(1, abs=0.02)
    slopes = torch.linalg.lstsq(conditions - conditions.mean(0), modelled.flatten(1)).solution
    assert slopes.abs().max() < 1e-3
    assert torch.allclose(network.latent_fit[1:], trend, atol=0.3)
