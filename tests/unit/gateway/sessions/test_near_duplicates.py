"""Near duplicates of a caller's rows: which are answered alike, and whose class is no anchor."""

from typing import Any

import numpy as np
import pytest

from gateway.pipeline.enforcement import Enforcement
from gateway.sessions.session_rows import REMEMBERED
from gateway.sessions.session_screen import SessionFinding, SessionWatch, measured_alike
from inference.model.decisions import Numbers
from inference.screening.detector import Verdict
from sealgate.trust.policy.screening import (
    ScreeningPolicy,
    ScreeningRules,
    SessionRules,
    StepUpRule,
    VerdictActions,
)
from tests.support.builders.documents.people import make_policy
from tests.support.builders.session_requests import (
    BLOCKS,
    COLUMNS,
    DRAW,
    KEY,
    NOTHING,
    PIXELS,
    ROW,
    a_live,
    answered,
    draw_anew,
    near,
    told,
)
from tests.support.fakes.shared_sessions import SharedStore


@pytest.fixture(autouse=True)
def same_rows() -> None:
    draw_anew()


def moved(number: int) -> list[np.ndarray]:
    """Rows [1, 64], each a fifth of the domain from one in every element."""
    middle = np.full(64, 0.5) + DRAW.uniform(-0.1, 0.1, 64)
    signs = DRAW.choice([-1.0, 1.0], (number, 64))
    return [(middle + 0.09 * each)[None].astype(np.float32) for each in signs]


def test_near_duplicates_are_answered_alike_where_elements_are_measured_alike() -> None:
    assert measured_alike(a_live(scaling=PIXELS).config)
    assert not measured_alike(a_live(scaling=COLUMNS).config)
    assert not measured_alike(a_live(scaling=None).config)
    assert measured_alike(a_live(scaling=None, row=(8, 8)).config)
    middle = np.full((1, 64), 0.5, np.float32)
    for scaling, anchors in ((PIXELS, [[3]]), (COLUMNS, [])):
        watch = SessionWatch(key=KEY)
        assert told(watch, middle, label=3, scaling=scaling) == SessionFinding()
        for row in moved(8):
            found = told(watch, row, label=7, scaling=scaling)
            assert (found.action, list(found.anchors)) == (None, anchors)
        assert watch.found["digits", "turned"] == 8 * len(anchors)


def test_near_duplicates_are_evidence_where_no_class_could_be_answered_alike() -> None:
    watch, live = SessionWatch(key=KEY), a_live(scaling=PIXELS)
    live.config.decision = Numbers((0.1,) * 10, (1.0,) * 10, ((0.0,) * 10, (1.0,) * 10))
    found = []
    for row in near(4):
        (prints,) = watch.prints(BLOCKS, live, [row])
        found.append(watch.observe(BLOCKS, "carla", live, [(prints, answered(1))]))
    assert found[0] == NOTHING
    assert found[-1] == SessionFinding("block")


def test_only_near_duplicates_of_a_request_are_answered_as_their_anchors_are() -> None:
    watch, live = SessionWatch(key=KEY), a_live(scaling=PIXELS)
    new = DRAW.random((2, 64), np.float32)
    first, second = np.concatenate([ROW, new[:1]]), np.concatenate([new[1:], *near(2)])
    prints = watch.prints(BLOCKS, live, [first, second])
    given = [(prints[0], answered(2, 5)), (prints[1], answered(3, 8))]
    assert watch.observe(BLOCKS, "carla", live, given).anchors == [None, [None, 5, 5]]


def test_a_burst_of_more_rows_than_are_remembered_is_looked_at_whole() -> None:
    for store in (None, SharedStore()):
        watch = SessionWatch(store, KEY)
        many = np.repeat(DRAW.random((1, 64), np.float32), 3 * REMEMBERED, axis=0)
        many += DRAW.uniform(-0.001, 0.001, many.shape).astype(np.float32)
        many = np.clip(many, 0, 1)
        assert told(watch, ROW, label=1) == SessionFinding()
        (anchors,) = told(watch, many, label=2).anchors
        assert anchors == [None] + [2] * (len(many) - 1)


def test_a_class_of_a_near_duplicate_is_never_another_callers() -> None:
    watch = SessionWatch(key=KEY)
    assert told(watch, ROW, label=3) == SessionFinding()
    assert told(watch, near(1)[0], label=7, caller="otto") == SessionFinding()
    assert told(watch, near(1)[0], label=7).anchors == [[3]]


@pytest.mark.parametrize("place", [None, SharedStore])
def test_a_row_whose_answer_is_withheld_is_no_anchor(place: type[SharedStore] | None) -> None:
    """Else a clean row would leave with the class of an adversarial one that was refused."""
    watch = SessionWatch(place() if place else None, KEY)
    attack, clean, other, again = near(4)
    for row in (attack, again):
        assert told(watch, row, verdict=Verdict.ADVERSARIAL, label=7, withheld=True) == NOTHING
    assert told(watch, clean, label=3) == NOTHING
    # From here on there is an anchor, for withheld rows too.
    assert told(watch, other, label=7).anchors == [[3]]
    assert told(watch, near(1)[0], label=7, withheld=True).anchors == [[3]]


@pytest.mark.parametrize("place", [None, SharedStore])
@pytest.mark.parametrize("verdict", [Verdict.SUSPECT, Verdict.ADVERSARIAL])
def test_a_row_that_was_not_clean_is_no_anchor_of_clean_ones(
    place: type[SharedStore] | None, verdict: Verdict
) -> None:
    """Else its class would leave with a clean verdict, where the policy labels what is suspect."""
    watch = SessionWatch(place() if place else None, KEY)
    attack, again, clean, other, last = near(5)
    assert told(watch, attack, verdict=verdict, label=7) == NOTHING
    # A search among such rows learns one class.
    assert told(watch, again, verdict=verdict, label=3).anchors == [[7]]
    assert told(watch, clean, label=3) == NOTHING
    assert told(watch, other, label=7).anchors == [[3]]
    assert told(watch, last, verdict=verdict, label=5).anchors in ([[3]], [[7]])


def test_what_others_were_not_told_crosses_nothing() -> None:
    watch = SessionWatch(key=KEY)
    one, two, three, other = near(4)
    for caller, row in (("ann", one), ("bob", two), ("cyd", three)):
        assert told(watch, row, caller=caller, label=3, withheld=True) == NOTHING
    assert told(watch, other, label=7) == NOTHING
    assert watch.found["digits", "crossed"] == 0


@pytest.mark.parametrize(
    ("verdict", "apart", "expected"),
    [
        (Verdict.CLEAN, 0, False),
        (Verdict.SUSPECT, 0, True),
        (Verdict.ADVERSARIAL, 0, True),
        (Verdict.CLEAN, 1, True),
    ],
)
def test_what_the_policy_refuses_for_its_verdict_is_withheld(
    verdict: Verdict, apart: int, expected: bool
) -> None:
    acts = VerdictActions(adversarial="block", suspect="step-up", disagreement="block")
    screen = ScreeningRules(acts, step_up=StepUpRule("approver", 60))
    policy = make_policy(screens=ScreeningPolicy({"digits": screen}))
    unused: Any = None
    enforcement = Enforcement(unused, lambda: policy, unused, unused, unused)
    live, caller = a_live(), policy.with_role("client")[0]
    live.config.blocks = True
    answer = answered(1, verdict=verdict)._replace(float32_rows=apart)
    assert enforcement.withholds(policy, live, caller, answer) is expected


@pytest.mark.parametrize(("search", "action"), [("block", "block"), ("alert", "alert")])
def test_a_class_that_several_others_were_not_told_is_refused_for_this_burst(
    search: str, action: str
) -> None:
    watch, rules = SessionWatch(key=KEY), SessionRules(search, "alert", seconds=60)
    one, two, three, other = near(4)
    for caller, row in (("ann", one), ("bob", two), ("cyd", three)):
        assert told(watch, row, caller=caller, label=3, rules=rules) == SessionFinding()
    assert told(watch, other, label=7, rules=rules).action == action
    assert watch.found["digits", "crossed"] == 1
    honest = DRAW.random((1, 64), np.float32)
    assert told(watch, honest, label=1, rules=rules) == SessionFinding()


@pytest.mark.parametrize("search", ["alert", "label-only"])
def test_where_nobody_is_blocked_own_classes_leave_and_turned_ones_have_the_consequence(
    search: str,
) -> None:
    watch, rules = SessionWatch(key=KEY), SessionRules(search, "alert", seconds=60)
    assert told(watch, ROW, label=3, rules=rules) == SessionFinding()
    assert told(watch, near(1)[0], label=3, rules=rules) == SessionFinding()
    assert told(watch, near(1)[0], label=7, rules=rules) == SessionFinding(search)
    assert watch.found == {("digits", "turned"): 1}
