"""Rows as they are made: what a row is depends on itself alone, and its voxels are those of the plain computation."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from networks import requested, write_networks
from scans import TINY

from brainldm.core.covariates import covariate_array
from brainldm.formats.nifti import SLOPE, quantise
from brainldm.models import rows
from brainldm.models.noise import row_noise
from brainldm.models.sampling import sample_volumes
from brainldm.models.training import make_fabric

HOW = TINY.generate.model_copy(update={"batch_size": 3})


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> rows.Networks:
    return rows.load(*write_networks(Path(tmp_path_factory.mktemp("networks"))), make_fabric("cpu", "32-true", 0), HOW)


def made(networks: rows.Networks, table: pd.DataFrame) -> dict[int, rows.Row]:
    return {row.index: row for row in rows.make(networks, table, HOW, SLOPE)}


def test_voxels_are_those_of_the_plain_computation_rounded_once(networks: rows.Networks) -> None:
    table = requested(range(4))
    noise = torch.stack([row_noise(7, index, networks.diffusion.latent_shape) for index in range(4)])
    plain = sample_volumes(networks.diffusion, networks.autoencoder, covariate_array(table), noise, HOW)[:, 0].numpy()
    for index, row in made(networks, table).items():
        assert row.counts.flags.f_contiguous
        assert row.counts.shape == TINY.grid.shape
        assert np.abs(row.counts * SLOPE - plain[index]).max() < 0.002  # the latent's float16
        exact = networks.autoencoder.decode(torch.from_numpy(row.latent)[None].float())[0, 0].detach().numpy()
        assert np.array_equal(row.counts, quantise(exact))


def test_a_row_depends_neither_on_its_neighbours_nor_on_its_place(networks: rows.Networks) -> None:
    found = made(networks, requested(range(7)))
    for chosen in ([6], [5, 1], [3, 6, 0, 2]):
        again = made(networks, requested(range(7)).iloc[chosen])
        assert list(again) == chosen
        for index, row in again.items():
            assert np.array_equal(row.counts, found[index].counts)
            assert np.array_equal(row.latent, found[index].latent)


def test_rows_that_share_their_noise_differ_by_their_covariates_only(networks: rows.Networks) -> None:
    table = requested(range(2))
    twins = table.assign(**{name: table[name][0] for name in ("noise_index", "sex", "age_years", "ventricles_ml", "brain_ml")})
    first, second = made(networks, twins).values()
    assert np.array_equal(first.counts, second.counts)
    assert not np.array_equal(*(row.counts for row in made(networks, table).values()))
