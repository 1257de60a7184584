"""The reviewer's protocol: shares with their intervals, and cells that say so if they are small."""

import numpy as np
import pytest

from benchmarks.screening.attacks import MANY
from benchmarks.screening.counts import FALSE_ALARMS, AttackCounts, BestAttacks, found_at, wilson
from benchmarks.screening.families import GEOMETRIC, family
from benchmarks.screening.honest_changes import honest_changes
from benchmarks.screening.targets import LEAST, OURS


def test_a_share_comes_with_wilsons_interval() -> None:
    # Newcombe (1998), table I: 81 of 263 and 0 of 20.
    found = wilson(81, 263)
    assert (found["low"], found["high"]) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20)["low"] == 0
    assert wilson(0, 20)["high"] == pytest.approx(0.1611, abs=1e-4)
    assert wilson(0, 0)["high"] == 1


def test_undetected_is_of_all_attacked_rows_and_refused_of_those_that_fooled() -> None:
    cell = AttackCounts(attacked=500, successes=LEAST)
    cell.refused[OURS], cell.suspect[OURS] = 150, 190
    cell.aurocs[OURS] = [0.9, 0.8]
    cell.roc[OURS] = [np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([0.3, 0.4, 0.5, 0.6, 0.7])]
    row = cell.row("PGD-40")
    assert row["undetected"]["mean"] == 0.1
    assert row["refused"]["mean"] == 0.75
    assert row["refused or suspect"]["mean"] == 0.95
    assert row["auroc"][OURS] == pytest.approx(0.85)
    assert row["found at"]["1.0%"] == {OURS: pytest.approx(0.3)}
    assert row["found at"]["10.0%"] == {OURS: pytest.approx(0.6)}


def test_a_cell_with_few_successes_is_not_measured() -> None:
    row = AttackCounts(attacked=500, successes=LEAST - 1).row("EAD")
    assert row["measured"] == "not measured"
    assert "refused" not in row


def test_of_attacks_of_least_norm_those_within_the_size_are_told_apart() -> None:
    cell = AttackCounts(attacked=300, successes=LEAST, near=[40, 38])
    assert cell.row("DeepFool")["within the size"]["mean"] == 0.95


def test_what_is_found_is_told_at_true_rates_of_false_alarms() -> None:
    clean, scores = np.arange(1000.0), np.array([985.0, 995.5, 1200.0])
    found = dict(zip(FALSE_ALARMS, found_at(clean, scores), strict=True))
    assert found == {0.005: 2 / 3, 0.01: 2 / 3, 0.02: 1, 0.05: 1, 0.1: 1}


def test_the_best_attack_counts_for_each_row_that_was_attacked() -> None:
    best = BestAttacks(MANY + 300)
    best.add(np.array([0, 1]), np.array([0.1, 0.2]), "L∞")
    best.add(np.array([1, 2]), np.array([0.3, 0.05]), GEOMETRIC)
    # Of 800 rows 500 were attacked.
    assert {name: int(rows.sum()) for name, rows in best.past.items()} == {
        "undetected, best attack": 3,
        "undetected, best attack but geometric": 2,
        "undetected, best attack within 0.1": 2,
    }
    assert {len(rows) for rows in best.past.values()} == {MANY}
    assert {len(rows) for rows in BestAttacks(80).past.values()} == {80}


def test_each_attack_is_of_one_family() -> None:
    names = ("AutoAttack", "EAD", "JSMA, a tenth", "PGD in random places", "patch")
    assert [family(name) for name in names] == ["L∞", "L2/L1", "L0", "masked", "patch"]
    assert family("rotation or shift") == "geometric"


def test_honest_changes_keep_rows_in_the_domain_and_move_them() -> None:
    x = np.random.default_rng(0).random((5, 64)).astype(np.float32)
    for name, moved in honest_changes(x, 0):
        assert moved.shape == x.shape, name
        assert moved.min() >= 0, name
        assert moved.max() <= 1, name
        assert np.abs(moved - x).max() > 0.01, name


def test_jpeg_keeps_a_flat_image_and_most_of_any_other() -> None:
    flat = np.full((2, 28 * 28), 128 / 255, np.float32)
    assert np.allclose(dict(honest_changes(flat, 0))["JPEG"], flat, atol=1e-6)
    ramp = np.tile(np.linspace(0, 1, 28, dtype=np.float32), 28)[None]
    assert np.abs(dict(honest_changes(ramp, 0))["JPEG"] - ramp).max() < 0.1
