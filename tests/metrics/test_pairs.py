import pytest

from brainldm.core.errors import DataError
from brainldm.metrics.pairs import random_pairs


@pytest.mark.parametrize("n", [2, 3, 6, 7, 10])
def test_one_set_gives_every_unordered_pair_once_and_no_self_pair(n: int) -> None:
    pairs = random_pairs(n, n, 10**6, seed=1, same=True)
    assert len(pairs) == n * (n - 1) // 2
    assert {frozenset(pair) for pair in pairs} == {frozenset((i, j)) for i in range(n) for j in range(i)}


def test_two_sets_give_every_pair_once() -> None:
    pairs = random_pairs(3, 4, 100, seed=1, same=False)
    assert sorted(pairs) == [(i, j) for i in range(3) for j in range(4)]


def test_the_seed_decides_and_a_large_set_costs_nothing() -> None:
    first = random_pairs(100_000, 100_000, 1000, seed=[1, 2], same=True)
    assert first == random_pairs(100_000, 100_000, 1000, seed=[1, 2], same=True)
    assert first != random_pairs(100_000, 100_000, 1000, seed=[1, 3], same=True)
    assert len({frozenset(pair) for pair in first}) == 1000
    assert all(0 <= i < 100_000 and 0 <= j < 100_000 and i != j for i, j in first)


def test_nothing_to_pair_is_named() -> None:
    with pytest.raises(DataError, match="at least two volumes"):
        random_pairs(1, 1, 10, seed=0, same=True)
