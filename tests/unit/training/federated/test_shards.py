"""Shards: each row at one client, mixes of classes as unlike as asked, the same for one seed."""

import numpy as np
import pytest

from sealgate.reasons import Reason, SealgateError
from training.federated.federation import deal

Y = np.repeat(np.arange(10), 90).astype(np.int64)


def unlikeness(skew: float) -> float:
    """How far clients' shares of classes are from even, on average."""
    shards = deal(Y, 9, skew, seed=1)
    shares = np.stack([np.bincount(Y[places], minlength=10) / len(places) for places in shards])
    return float(np.abs(shares - 0.1).sum(1).mean())


def test_each_row_is_at_one_client() -> None:
    shards = deal(Y, 9, 0.5, seed=1)
    assert len(shards) == 9
    assert sorted(np.concatenate(shards).tolist()) == list(range(len(Y)))
    assert min(map(len, shards)) >= 8


def test_a_small_skew_makes_them_unlike() -> None:
    assert unlikeness(0.2) > 2 * unlikeness(10.0) > 0


def test_one_seed_deals_the_same_hands() -> None:
    first, again, other = (deal(Y, 9, 0.5, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        deal(Y[:60], 9, 0.5, seed=1)
    assert refused.value.reason is Reason.TRAINING_DATA
