"""Seeds of a model that were measured at other times add up to one row."""

from pathlib import Path

import pytest

from benchmarks.screening import findings
from benchmarks.screening.counts import AttackCounts
from benchmarks.screening.findings import SeedFindings, kept, row_of
from benchmarks.screening.targets import LEAST, OURS


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "KEPT", tmp_path / "screening")


def of_seed(commit: str, successes: int, auroc: float) -> SeedFindings:
    found = SeedFindings(commit)
    found.attacks["EAD"] = AttackCounts(
        400,
        successes,
        {OURS: successes // 2},
        {OURS: successes - 10},
        {OURS: [auroc]},
        {OURS: [[auroc / 2] * 5]},
        [20, 15],
    )
    found.clean[OURS] = [400, 4, 20]
    found.changes["blur"] = [400, 8, 30]
    found.best["undetected, best attack"] = [100, 400]
    found.adaptive |= {"0.1": [10, 5, 100], "0.2": [40, 30, 100]}
    found.auto, found.right = [39, 100], [360, 400]
    return found


def test_a_seed_is_read_as_it_was_kept() -> None:
    seed = of_seed("abc", 150, 0.9)
    seed.keep("digits", "hardened", 3)
    assert kept("digits", "hardened") == {3: seed}
    assert kept("digits", "plain") == {}


def test_a_later_seed_joins_those_before_it() -> None:
    of_seed("abc", 150, 0.9).keep("digits", "hardened", 0)
    before = row_of("digits", "hardened", kept("digits", "hardened"))
    of_seed("def", 250, 0.8).keep("digits", "hardened", 1)
    after = row_of("digits", "hardened", kept("digits", "hardened"))
    assert (before["seeds"], after["seeds"]) == (1, 2)
    assert (before["commit"], after["commit"]) == ("abc", "abc, def")
    assert after["clean refused"][OURS] == before["clean refused"][OURS] | {
        "low": pytest.approx(0.0051, abs=1e-3),
        "high": pytest.approx(0.0196, abs=1e-3),
        "of": 800,
    }
    assert after["accuracy"]["mean"] == 0.9
    assert after["adaptive within 0.2"]["undetected"]["of"] == 200
    assert after["without a detector"]["AutoAttack"]["mean"] == 0.39
    assert after["without a detector"]["adaptive"]["mean"] == 0.4


def test_an_attack_with_few_successes_a_seed_is_measured_by_more_seeds() -> None:
    seeds = {at: of_seed("abc", LEAST - 50, 0.9 - at / 10) for at in range(2)}
    (alone,) = row_of("digits", "hardened", {0: seeds[0]})["attacks"]
    (both,) = row_of("digits", "hardened", seeds)["attacks"]
    assert alone["measured"] == "not measured"
    assert both["refused"] == {**both["refused"], "mean": 0.5, "of": 2 * (LEAST - 50)}
    assert both["auroc"][OURS] == pytest.approx(0.85)
    assert both["within the size"]["of"] == 40


def test_a_table_has_no_adaptive_attacker() -> None:
    seed = of_seed("abc", 150, 0.9)
    seed.adaptive, seed.auto = {}, [0, 0]
    row = row_of("flights", "plain", {0: seed})
    assert "without a detector" not in row
    assert not [name for name in row if name.startswith("adaptive")]
