"""The targets of both ways of rounding, and how their rows are computed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import report, rounding
from benchmarks.rounding import (
    BITS,
    FLOAT32,
    NETWORKS,
    Measured,
    RoundedNetwork,
    after,
    during,
    feeds,
    judge,
    not_run,
    summary,
)

MLP = NETWORKS[0]


def seed(lift: float = 0.0, share: int = 8, ms: float = 1.0) -> Measured:
    """Rounding after training loses a point, in training `lift` less."""
    whole = {"file_bytes": 800, "float32_bytes": 800}
    part = {"file_bytes": 800 // share, "float32_bytes": 20}
    arms = {FLOAT32: {"accuracy": 0.9 + lift, "ms": 3.0, **whole}}
    for bits in BITS:
        told = {"ms": ms, **part}
        arms[after(bits)] = {"accuracy": 0.89 + lift, **told}
        arms[during(bits)] = {"accuracy": 0.89 + 2 * lift, **told}
    return arms


def missed(*seeds: Measured) -> list[str]:
    return [each.name for each in judge(summary(MLP, list(seeds))) if not each.met]


def test_both_ways_are_trained_for_as_many_epochs() -> None:
    rows = summary(MLP, [seed(), seed(0.01)])
    assert {row["epochs"] for row in rows} == {MLP.first.epochs + MLP.more.epochs}
    assert all(network.seeds >= 5 for network in NETWORKS)


def test_differences_are_taken_seed_by_seed() -> None:
    rows = {row["arm"]: row for row in summary(MLP, [seed(), seed(0.01), seed(0.02)])}
    assert rows[after(4)]["loss"] == {"mean": 1.0, "off": 0.0, "seeds": 3}
    assert rows[during(4)]["over_after"]["mean"] == pytest.approx(1.0)
    assert "over_after" not in rows[after(4)]


def test_what_is_no_better_than_rounding_after_is_missed() -> None:
    gain = "points gained over rounding after as many epochs, low end"
    assert missed(seed(0.01), seed(0.011)) == []
    assert missed(seed(0.01), seed(0.03)) == [f"MLP, {bits} bits: {gain}" for bits in BITS]


def test_a_large_file_and_a_slow_one_are_missed() -> None:
    small = "MLP, 4 bits: bytes of the file, over those of float32"
    large = [seed(0.01, share=4), seed(0.011, share=4)]
    assert missed(*large) == [small]
    assert judge(summary(MLP, large))[-1].why == "20 bytes are float32, 180 4 bits and the graph"
    slow = "MLP, 8 bits in training: times faster"
    assert missed(seed(0.01, ms=2.0), seed(0.011, ms=2.0)) == [slow]


@pytest.mark.parametrize("network", [each for each in NETWORKS if each.name != "MLP"])
def test_a_network_that_is_hardly_faster_says_why(network: RoundedNetwork) -> None:
    judged = judge(summary(network, [seed(0.01, ms=2.0), seed(0.011, ms=2.0)]))
    (slow,) = (each for each in judged if each.name.endswith("times faster"))
    assert not slow.met
    assert "float32" in slow.why


def test_what_is_known_of_a_network_stays_until_it_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rounding.json").write_text(
        json.dumps({"rows": summary(MLP, [seed(0.01), seed(0.011)])})
    )
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(rounding, "FOLDER", tmp_path / "none")
    monkeypatch.setattr(sys, "argv", ["rounding", "report"])
    rounding.main()
    told = json.loads((tmp_path / "rounding.json").read_text())
    assert [row["network"] for row in told["rows"]] == ["MLP"] * 5
    measured = {each["name"][:3] for each in told["targets"] if each["value"] is not None}
    assert measured == {"MLP"}


def test_a_network_with_seeds_missing_is_not_measured() -> None:
    found = not_run(MLP, 3)
    assert [each.value for each in found] == [None] * len(BITS)
    assert {each.why for each in found} == {"3 of 5 seeds are there"}
    names = [each.name for each in judge(summary(MLP, [seed(), seed(0.01)]))]
    assert {each.name for each in found} <= set(names)


def test_rows_of_tokens_have_a_mask() -> None:
    found = feeds(torch.tensor([[5, 6, -1]]))
    assert [each.tolist() for each in found.values()] == [[[5, 6, 0]], [[1, 1, 0]]]
    (images,) = feeds(torch.zeros(2, 1, 2, 2)).values()
    assert images.dtype == np.float32
