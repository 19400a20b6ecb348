import numpy as np
import pytest
from scipy.spatial.distance import cdist

from brainldm.core.errors import DataError
from brainldm.metrics import nearest
from brainldm.metrics.nearest import nearest_distance, nearest_references, nearest_train_ratio


def _sets(seed: int, *sizes: int, features: int = 16) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((size, features)).astype(np.float32) for size in sizes]


def test_it_agrees_with_all_distances_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, references = _sets(1, 23, 40)
    expected = cdist(queries, references).min(axis=1)
    np.testing.assert_allclose(nearest_distance(queries, references), expected, rtol=1e-12)
    monkeypatch.setattr(nearest, "CHUNK_VALUES", 5 * 40)
    np.testing.assert_allclose(nearest_distance(queries, references), expected, rtol=1e-12)


def test_a_planted_copy_is_at_exactly_0_also_far_from_the_origin() -> None:
    queries, references = _sets(2, 10, 30)
    queries, references = queries + 1000, references + 1000
    queries[7] = references[12]
    distances = nearest_distance(queries, references)
    assert distances[7] == 0
    assert (np.delete(distances, 7) > 0.5).all()


@pytest.mark.parametrize("k", [1, 4, 40])
def test_the_references_named_are_the_nearest_in_order(k: int) -> None:
    queries, references = _sets(5, 23, 40)
    distances, which = nearest_references(queries, references, k)
    expected = cdist(queries, references)
    np.testing.assert_array_equal(which, expected.argsort(axis=1)[:, :k])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :k], rtol=1e-12)


def _ratio(synthetic: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> float:
    return nearest_train_ratio(nearest_distance(synthetic, train), nearest_distance(held_out, train))


def test_fresh_samples_score_1_copies_0_and_near_copies_between() -> None:
    synthetic, train, held_out = _sets(3, 200, 300, 200)
    assert _ratio(synthetic, train, held_out) == pytest.approx(1, abs=0.05)
    assert _ratio(train[:200], train, held_out) == 0
    assert 0 < _ratio(train[:200] + 0.1 * synthetic, train, held_out) < 0.3


def test_a_leaking_split_and_empty_sets_are_errors() -> None:
    synthetic, train = _sets(4, 5, 6)
    with pytest.raises(DataError, match="split leaks"):
        _ratio(synthetic, train, train)
    with pytest.raises(DataError, match="found 5 and 0"):
        nearest_distance(synthetic, train[:0])
