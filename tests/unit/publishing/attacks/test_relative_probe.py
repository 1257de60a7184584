"""Rows whose columns have ranges of their own are attacked in shares of those ranges."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inference.model.columns import Column, RowRules
from inference.runtime import response_contract
from publishing.attacks.relative_probe import RelativeProbe

COLUMNS = (
    Column("rate", min=0.0, max=0.002),
    Column("income", step=10.0, min=0.0, max=100_000.0),
    Column("age", min=18.0, max=98.0, immutable=True),
)
RULES = RowRules.of(COLUMNS, (0.0, 100_000.0))
EPS = 0.02


class Linear:
    """A response graph of a linear model of the shares: class 1 where rate and income are high."""

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]
    ) -> list[np.ndarray]:
        x, eps = input_feed[response_contract.X], input_feed[response_contract.EPS]
        shares = (x - RULES.low) / RULES.span
        lead = (shares[:, 0] + shares[:, 1] - 1.0).astype(np.float32)
        way = np.where(lead > 0, -1, 1)[:, np.newaxis] * np.array([1, 1, 0])
        moved = np.clip(x + eps * RULES.span * way, RULES.low, RULES.high)
        found = {
            response_contract.LOGITS: np.stack([-lead, lead], axis=1),
            response_contract.X_ADV: moved.astype(np.float32),
            response_contract.FEATURES: np.stack([lead, np.abs(lead)], axis=1),
        }
        return [found[name] for name in output_names or response_contract.OUTPUTS]


def rows() -> np.ndarray:
    draw = np.random.default_rng(1)
    found = RULES.low + draw.random((60, 3)) * RULES.span
    found[:, 1] = np.rint(found[:, 1] / 10) * 10
    return found.astype(np.float32)


PROBE = RelativeProbe.of(Linear(), EPS, RULES)


def test_attacks_move_every_free_column_by_a_share_of_its_range() -> None:
    x, reached = rows(), {}
    for name, moved in PROBE.attacks(x, np.random.default_rng(2)):
        RULES.check(moved)
        np.testing.assert_array_equal(moved[:, 2], x[:, 2])
        reached[name] = (np.abs(moved - x) / RULES.span).max(axis=0)
    for size in (0.05, 0.1, 0.2):
        for kind in ("fgsm", "pgd"):
            np.testing.assert_allclose(reached[f"{kind}-{size:g}"][:2], size, rtol=0.01)


def test_benign_changes_are_rows_that_could_be_sent() -> None:
    x = rows()
    for name, moved in PROBE.shifts(x, np.random.default_rng(3)):
        RULES.check(moved)
        if name.startswith("noise"):
            shares = (np.abs(moved - x) / RULES.span).max(axis=0)
            np.testing.assert_allclose(shares, float(name.partition("-")[2]), rtol=0.01)


def test_rows_are_measured_as_they_are() -> None:
    x = rows()
    logits, features = PROBE.measure(x)
    direct = Linear().run(("logits", "features"), {"x": x, "eps": np.float32(EPS)})
    np.testing.assert_array_equal(logits, direct[0])
    np.testing.assert_array_equal(features, direct[1])
    np.testing.assert_array_equal(PROBE.answers(x), direct[0].argmax(axis=1))


def test_the_nearest_row_of_another_answer_can_be_sent() -> None:
    x = rows()
    moved = dict(PROBE.attacks(x, np.random.default_rng(4)))["pgd-0.3"]
    there = PROBE.nearest(x, moved, PROBE.answers)
    RULES.check(there)
    turned = PROBE.answers(moved) != PROBE.answers(x)
    assert turned.any()
    assert (PROBE.answers(there) != PROBE.answers(x))[turned].all()
    assert (np.abs(there - x) <= np.abs(moved - x) + 1e-3 * RULES.span).all()
