import numpy as np

from brainldm.models.panel import ladder_rows


def test_a_ladder_moves_one_covariate_and_keeps_the_others_at_the_median() -> None:
    generator = np.random.default_rng(1)
    training = np.column_stack([np.arange(101) % 3 > 0, *generator.uniform(0, 100, (3, 101))]).astype(float)
    rows = ladder_rows(training, "ventricles_ml", 5)
    np.testing.assert_allclose(rows[[0, -1], 2], np.percentile(training[:, 2], [2, 98]))
    np.testing.assert_allclose(np.diff(rows[:, 2], 2), 0, atol=1e-9)
    np.testing.assert_allclose(rows[:, [1, 3]], np.tile(np.median(training[:, [1, 3]], axis=0), (5, 1)))
    assert (rows[:, 0] == 1).all()
