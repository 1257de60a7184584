"""Where work goes: to the engine that is done first, by what it measured and has waiting."""

from collections import Counter
from contextlib import ExitStack

import pytest

from inference.backends.remote.placement import EnginePlacement, MeasuredEngine, finish
from inference.batching.cost_model import BatchCosts

A, B = "sha256:a", "sha256:b"
# A batch of 8 costs the fast engine 2, and the slow one 8.
FAST = {
    A: MeasuredEngine(BatchCosts(((1, 1.0), (8, 2.0))), "cpu"),
    B: MeasuredEngine(BatchCosts(((1, 5.0),)), "cpu"),
}
SLOW = {A: MeasuredEngine(BatchCosts(((1, 4.0), (8, 8.0))), "openvino")}


def test_what_waits_together_runs_together() -> None:
    assert finish(A, 1, FAST, {}) == 1.0
    assert finish(A, 1, FAST, {A: 7}) == 2.0
    assert finish(A, 8, FAST, {A: 8}) == 4.0


def test_other_versions_are_in_the_way_and_the_way_counts() -> None:
    assert finish(A, 1, FAST, {B: 2, "sha256:unmeasured": 9}) == 11.0
    far = {A: MeasuredEngine(FAST[A].costs, "cpu", way=0.25)}
    assert finish(A, 1, far, {}) == 1.25


def test_lanes_share_what_waits_but_no_batch_is_faster_than_alone() -> None:
    two = {A: MeasuredEngine(BatchCosts(((1, 1.0), (8, 2.0)), lanes=2), "cpu")}
    assert finish(A, 8, two, {A: 8}) == 2.0
    assert finish(A, 8, two, {}) == 2.0


def test_a_lone_request_goes_to_the_fastest() -> None:
    placement = EnginePlacement(["slow", "fast"])
    for _ in range(3):
        with placement.placed(A, 1, {"slow": SLOW, "fast": FAST}) as name:
            assert name == "fast"
            assert placement.waiting("fast") == 1
    assert placement.waiting("fast") == 0


def test_under_load_each_gets_its_share() -> None:
    """Batches of 8 that pile up: the engine that is four times as fast takes four times as many."""
    placement, placed = EnginePlacement(["slow", "fast"]), Counter[str]()
    with ExitStack() as unanswered:
        for _ in range(50):
            place = placement.placed(A, 8, {"slow": SLOW, "fast": FAST})
            placed[unanswered.enter_context(place)] += 1
        assert placed == {"fast": 40, "slow": 10}
    assert placement.waiting("fast") == placement.waiting("slow") == 0


def test_an_engine_that_keeps_its_rows_gets_no_more_of_them() -> None:
    placement = EnginePlacement(["slow", "fast"])
    with ExitStack() as unanswered:
        while unanswered.enter_context(placement.placed(A, 8, {"slow": SLOW, "fast": FAST})) != (
            "slow"
        ):
            pass
        with placement.placed(A, 8, {"slow": SLOW, "fast": FAST}) as name:
            assert name == "fast"


def test_who_has_not_measured_comes_last() -> None:
    placement = EnginePlacement(["silent", "slow"])
    with placement.placed(A, 1, {"silent": {}, "slow": SLOW}) as name:
        assert name == "slow"
    with placement.placed(A, 1, {"silent": {}}) as name:
        assert name == "silent"


def test_rows_are_taken_off_again_whatever_happens() -> None:
    placement = EnginePlacement(["fast"])
    with pytest.raises(KeyError), placement.placed(A, 3, {"fast": FAST}):
        raise KeyError
    assert placement.waiting("fast") == 0
