"""Groups are random and large enough; a minority of poisoned ones cannot pull the rule away."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.federated.aggregation import draw_groups, join
from training.recipe.federated import CLOSEST, LOWEST, MEDIAN, TRIMMED, UNPROTECTED


def draws(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


@given(st.integers(9, 60), st.integers(3, 6), st.integers())
def test_groups_hold_each_client_once(clients: int, size: int, seed: int) -> None:
    groups = draw_groups(range(clients), size, draws(seed))
    assert sorted(one for group in groups for one in group) == list(range(clients))
    assert len(groups) == clients // size
    assert {len(group) for group in groups} <= {clients // len(groups), clients // len(groups) + 1}
    assert min(map(len, groups)) >= size


def test_groups_change() -> None:
    drawn = {draw_groups(range(9), 3, draws(seed)) for seed in range(20)}
    assert len(drawn) > 10


def means(*values: float) -> list[np.ndarray]:
    return [np.array([value, -value, 2 * value]) for value in values]


@pytest.mark.parametrize(
    ("rule", "values"),
    [(MEDIAN, (1, 2, 3)), (TRIMMED, (1, 2, 3, 2)), (CLOSEST, (1, 3, 2)), (CLOSEST, (1, 2, 3, 2))],
)
@pytest.mark.parametrize("poison", [1e6, -1e6])
def test_a_poisoned_group_stays_within_honest_ones(
    rule: str, values: tuple[float, ...], poison: float
) -> None:
    first, turned, twice = join(rule, means(*values[:-1], poison))
    assert 1 <= first <= 3
    assert 1 <= -turned <= 3
    assert 2 <= twice <= 6


def test_the_plain_mean_is_pulled_away() -> None:
    assert join(UNPROTECTED, means(1, 2, -1e6))[0] < -1e5


def test_rules_agree_where_all_are_alike() -> None:
    for rule in (CLOSEST, MEDIAN, TRIMMED, UNPROTECTED):
        assert np.allclose(join(rule, means(2, 2, 2)), (2, -2, 4))


def test_the_closest_are_whole_means_of_groups() -> None:
    assert np.allclose(join(CLOSEST, means(1.0, 1.2, 9.0)), np.mean(means(1.0, 1.2), axis=0))
    assert np.allclose(join(CLOSEST, means(9, 1, 8, 2, 1.5), trim=2), np.mean(means(1, 2, 1.5), 0))


def test_lowest_loss_leaves_out_the_group_that_raises_it() -> None:
    wanted = np.mean(means(1.0, 1.2), axis=0)

    def loss(move: np.ndarray) -> float:
        return float(np.linalg.norm(move - wanted))

    # The poisoned group lies no farther from the others than they do from each other.
    assert np.allclose(join(LOWEST, means(1.0, 1.2, 0.9), loss=loss), wanted)
    assert np.allclose(join(LOWEST, means(1.0, 1.2, 1.1), loss=loss), wanted)
    assert np.allclose(join(LOWEST, means(-9, 1.0, 1.2, 7, 1.1), trim=2, loss=loss), wanted)


def test_lowest_loss_leaves_no_more_out_than_trim_says() -> None:
    seen: list[float] = []

    def loss(move: np.ndarray) -> float:
        seen.append(float(move[0]))
        return 0.0

    # Where all come to the same, no group is left out.
    assert np.allclose(join(LOWEST, means(1, 2, 6), loss=loss), np.mean(means(1, 2, 6), axis=0))
    assert sorted(seen) == [1.5, 3, 3.5, 4]
