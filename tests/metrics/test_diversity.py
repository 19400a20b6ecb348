"""Intervals of the mean similarity of pairs: pairs that share a volume are not independent."""

import numpy as np

from brainldm.metrics.diversity import mean_of_pairs
from brainldm.metrics.pairs import random_pairs
from brainldm.metrics.summary import mean_of


def test_intervals_hold_the_populations_mean_in_about_95_of_100_trials() -> None:
    hits = np.zeros(2)
    for trial in range(100):
        generator = np.random.default_rng([1, trial])
        volumes, pairs = generator.standard_normal(40), np.array(random_pairs(40, 40, 400, [trial], same=True))
        scores = volumes[pairs].sum(axis=1) + generator.standard_normal(400)
        ways = mean_of_pairs("alike", scores, pairs), mean_of("alike", scores, 200, trial)
        hits += [one["alike_ci"][0] <= 0 <= one["alike_ci"][1] for one in ways]
    assert 88 <= hits[0] <= 99
    assert hits[1] < 75  # of one that resamples pairs


def test_one_pair_has_no_interval() -> None:
    assert mean_of_pairs("alike", np.array([0.5]), np.array([[0, 1]]))["alike_ci"] == [None, None]
