"""The targets of screening: bounds by attack family and by honest change."""

from typing import Any

import pytest

from benchmarks.report import Target
from benchmarks.screening.honest_changes import NATURAL, WRITERS
from benchmarks.screening.sources import DIGITS, FASHION, FLIGHTS
from benchmarks.screening.subjects import HARDENED, PLAIN
from benchmarks.screening.targets import OURS, UNSEEN, targets_of


def share(mean: float, of: int = 500) -> dict[str, float]:
    return {"mean": mean, "low": mean, "high": mean, "of": of}


def attack(name: str, family: str, auroc: float, near: int) -> dict[str, Any]:
    return {
        "attack": name,
        "family": family,
        "within the size": share(0.92, near),
        "refused": share(0.5),
        "refused or suspect": share(0.9),
        "auroc": {OURS: auroc, "LID": 0.8, "energy": 0.9, UNSEEN: auroc - 0.02},
    }


def row(model: str, data: str = DIGITS.title) -> dict[str, Any]:
    return {
        "data": data,
        "model": model,
        "clean refused": {OURS: share(0.008)},
        "clean suspect": {OURS: share(0.06)},
        "honest changes refused": {"blur": share(0.03), NATURAL: share(0.03), WRITERS: share(0.03)},
        "undetected, best attack within 0.1": share(0.2),
        "adaptive within 0.1": {"undetected": share(0.16)},
        "adaptive within 0.2": {"undetected": share(0.2)},
        "without a detector": {"AutoAttack": share(0.5), "adaptive": share(0.6)},
        "attacks": [attack("DeepFool", "L2/L1", 0.95, 200), attack("EAD", "L2/L1", 0.95, 0)],
    }


def found(given: dict[str, Any]) -> dict[str, Target]:
    return {target.name: target for target in targets_of([given])}


def test_a_family_is_held_against_its_bounds_and_the_best_known_detector() -> None:
    targets = found(row(PLAIN))
    assert targets["digits, plain, L2/L1: refused"].met
    assert targets["digits, plain, L2/L1: refused or suspect"].target == 0.85
    ours = targets["digits, plain, L2/L1: 1 - AUROC over that of the best known detector"]
    assert ours.value == pytest.approx(0.5)
    left_out = targets[f"{ours.name}, family left out"]
    assert left_out.value == pytest.approx(0.7)


def test_each_honest_change_has_its_own_bound() -> None:
    targets = found(row(PLAIN))
    assert not targets["digits, plain, blur: refused"].met
    assert targets[f"digits, plain, {NATURAL}: refused"].met
    assert not targets[f"digits, plain, {WRITERS}: refused, at most"].met
    assert targets[f"digits, plain, {WRITERS}: refused, at least"].met
    assert not targets["digits, plain: clean rows suspect"].met


def test_a_hardened_model_is_held_against_the_adaptive_attacker() -> None:
    targets = found(row(HARDENED))
    assert not targets["digits, hardened: adaptive, undetected within 0.1"].met
    assert targets["digits, hardened: adaptive, undetected within 0.2"].met
    name = "digits, hardened: attacks of least norm, within the size: refused or suspect"
    assert targets[name].value == pytest.approx(0.92)
    # Few rows measure nothing.
    few = row(HARDENED) | {"attacks": [attack("DeepFool", "L2/L1", 0.95, 40)]}
    assert found(few)[name].value is None
    assert "40 rows" in found(few)[name].why
    fashion = found(row(HARDENED, FASHION.title))
    assert fashion["Fashion-MNIST, hardened: adaptive, undetected within 0.1"].met


def test_the_adaptive_attacker_is_no_weaker_than_autoattack() -> None:
    weak = row(PLAIN) | {"without a detector": {"AutoAttack": share(0.6), "adaptive": share(0.5)}}
    name = (
        "digits, plain: rows turned by the adaptive attacker over AutoAttack's, without a detector"
    )
    assert found(row(PLAIN))[name].met
    assert not found(weak)[name].met


def test_of_a_table_each_later_month_has_a_bound_and_sizes_of_images_have_none() -> None:
    given = row(PLAIN, FLIGHTS.title) | {"honest changes refused": {"month 6": share(0.017)}}
    targets = found(given)
    assert targets["flights, plain, month 6: refused"].met
    assert "flights, plain: undetected, best attack within .1" not in targets
