"""Targets of `make bench NAME=screening` are held against the worst that was measured."""

from typing import Any

import pytest

from benchmarks.report import Target
from benchmarks.screening.attacks import ATTACKS
from benchmarks.screening.measures import WORST
from benchmarks.screening.sources import DIGITS
from benchmarks.screening.subjects import HARDENED, PLAIN
from benchmarks.screening.targets import targets_of


def mean(value: float) -> dict[str, float]:
    return {"mean": value, "seeds": 5}


def row(model: str, **changes: Any) -> dict[str, Any]:
    caught = {
        "turned": mean(0.5),
        "tpr_at_1_percent": mean(0.97),
        "flagged": mean(0.6),
        "auroc_unseen": mean(0.98),
    }
    return {
        "data": DIGITS.title,
        "model": model,
        "alarms": [0.0, 0.005, 0.01],
        "clean": {"bound": mean(0.01), "rows": mean(400), "accuracy": mean(0.9)},
        "shifts": {"darker": mean(0.01), "noise-0.2": mean(0.03)},
        "attacks": {attack.name: caught for attack in ATTACKS} | {WORST: {"turned": mean(1.0)}},
        "knowing": {"joint_at_threshold": mean(0.1)},
    } | changes


def found(*rows: dict[str, Any]) -> dict[str, Target]:
    """By the first words of each."""
    return {target.name.partition(" (")[0]: target for target in targets_of(rows)}


def test_all_are_met_where_all_is_well() -> None:
    targets = found(row(PLAIN), row(HARDENED))
    assert len(targets) == 11
    assert all(target.met for target in targets.values())


def test_false_alarms_count_by_model_and_seed() -> None:
    targets = found(row(PLAIN, alarms=[0.0, 0.011, 0.02]), row(HARDENED))
    alarms = targets["models, data sets and seeds with more false alarms than stated"]
    assert alarms.value == pytest.approx(2 / 6)
    assert not alarms.met
    assert "1.1% of 400 rows, digits, plain; 2.0% of 400 rows" in alarms.why


def test_one_weak_attack_misses_and_one_that_turns_next_to_nothing_does_not_count() -> None:
    attacks = row(PLAIN)["attacks"]
    weak = {**attacks["DeepFool"], "tpr_at_1_percent": mean(0.4), "auroc_unseen": mean(0.6)}
    targets = found(row(PLAIN, attacks=attacks | {"DeepFool": weak}))
    assert targets["minimal-norm attacks, digits, plain: TPR at 1%"].value == 0.4
    assert not targets["unseen attacks, plain: worst AUROC"].met
    seldom = {**weak, "turned": mean(0.01)}
    targets = found(row(PLAIN, attacks=attacks | {"DeepFool": seldom}))
    assert all(target.met for target in targets.values())


def test_the_knowing_attacker_is_held_against_the_hardened_model() -> None:
    strong = {"joint_at_threshold": mean(0.5)}
    name = "adaptive attacker, hardened model, digits"
    assert name not in found(row(PLAIN, knowing=strong))
    missed = found(row(HARDENED, knowing=strong))[name]
    assert not missed.met
    assert missed.why
