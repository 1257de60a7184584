"""When answers leave: by `hold_ms`, and by the clock of screening's slower stage."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.pipeline.enforcement import KEPT, ResponseDelay
from inference.engine.live_table import LiveVersion
from inference.engine.result import InferenceResult
from inference.screening.detector import Verdict
from sealgate.reasons import Reason
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules, SessionRules
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.builders.documents.people import make_policy, refused
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.two_stages import two_stage_files

STAGED = two_stage_files(Perceptron.random(), -0.5)[1]
SECOND = 1_000_000_000


class Clock:
    """Time passes as a test says, and while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 5 * SECOND
        self.slept: list[float] = []

    def read(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * SECOND)


class Desk:
    """Answers requests that take as long as a test says."""

    def __init__(self, screen: ScreeningRules, **live: Any) -> None:
        policy = make_policy(screens=ScreeningPolicy({"digits": screen}))
        self.clock = Clock()
        self.holding = ResponseDelay(lambda: policy, self.clock.read, self.clock.sleep)
        self.live = _live(**live)

    def takes(
        self,
        seconds: float,
        graph_rows: int | None,
        session: str | None = None,
        remaining: float | None = None,
        live: LiveVersion | None = None,
        verdict: Verdict = Verdict.CLEAN,
    ) -> float:
        """A request, refused where it has no `graph_rows`; returns when it left after it came."""
        began = self.clock.now
        self.clock.now += round(seconds * SECOND)
        answer = None
        if graph_rows is not None:
            features = np.zeros((2, 3))
            answer = InferenceResult({}, features, 0.0, verdict, 1.0, graph_rows=graph_rows)
        self.holding.wait(live or self.live, answer, session, began, remaining)
        return (self.clock.now - began) / SECOND


def _live(digest: str = "sha256:1", detector: Any = STAGED) -> Any:
    return SimpleNamespace(model="digits", digest=digest, ready=SimpleNamespace(detector=detector))


def test_answers_leave_at_once_where_the_policy_says_nothing() -> None:
    desk = Desk(ScreeningRules())
    assert [desk.takes(0.5, 2), desk.takes(0.1, 0)] == [0.5, 0.1]
    assert desk.clock.slept == []


def test_what_is_suspect_or_worse_is_held_for_longer() -> None:
    desk = Desk(ScreeningRules(hold_ms=20, suspect_hold_ms=100))
    assert desk.takes(0.01, 0) == pytest.approx(0.02)
    for verdict in (Verdict.SUSPECT, Verdict.ADVERSARIAL):
        assert desk.takes(0.01, 0, verdict=verdict) == pytest.approx(0.1)
        assert desk.takes(0.3, 0, verdict=verdict) == pytest.approx(0.3)
    assert desk.takes(0.01, 0, verdict=Verdict.SUSPECT, remaining=0.05) == pytest.approx(0.06)


def test_a_row_that_passes_leaves_when_one_that_goes_on_would() -> None:
    desk = Desk(ScreeningRules(hold_stage=True))
    assert desk.takes(0.5, 1) == 0.5
    assert desk.takes(0.1, 0) == pytest.approx(0.5)
    assert desk.takes(0.3, 2) == pytest.approx(0.5)


def test_the_stage_that_decided_changes_no_time() -> None:
    """The same requests, of which another half goes on: every one leaves at the same time."""
    times = []
    for odd in (0, 1):
        desk = Desk(ScreeningRules(hold_stage=True))
        desk.takes(0.5, 2)
        times.append(
            [desk.takes(0.4 if at % 2 == odd else 0.1, int(at % 2 == odd)) for at in range(8)]
        )
    assert times[0] == pytest.approx(times[1])


def test_refusals_are_held_too() -> None:
    desk = Desk(ScreeningRules(hold_stage=True))
    desk.takes(0.5, 2)
    assert desk.takes(0.01, None) == pytest.approx(0.5)


def test_the_clock_is_that_of_the_last_requests() -> None:
    desk = Desk(ScreeningRules(hold_stage=True))
    desk.takes(2.0, 1)
    for _ in range(KEPT - 1):
        assert desk.takes(0.5, 1) == pytest.approx(2.0)
    assert desk.takes(0.5, 1) == pytest.approx(0.5)
    assert desk.takes(0.1, 0) == pytest.approx(0.5)


def test_a_time_that_nothing_is_known_of_yet_is_hold_ms() -> None:
    desk = Desk(ScreeningRules(hold_ms=300, hold_stage=True))
    assert desk.takes(0.1, 0) == pytest.approx(0.3)
    desk.takes(0.5, 1)
    assert desk.takes(0.1, 0) == pytest.approx(0.5)


def test_each_version_has_its_own_clock() -> None:
    desk = Desk(ScreeningRules(hold_stage=True))
    desk.takes(0.5, 1)
    assert desk.takes(0.1, 0, live=_live("sha256:2")) == pytest.approx(0.1)


def test_a_version_of_one_stage_is_not_held() -> None:
    desk = Desk(ScreeningRules(hold_stage=True), detector=replace(STAGED, first=None))
    desk.takes(0.5, 2)
    assert desk.takes(0.1, 2) == pytest.approx(0.1)


def test_a_version_that_asks_float32_about_some_rows_is_held() -> None:
    asking = replace(STAGED, first=None, disagreement=FLOAT32, least_margin=1.0)
    desk = Desk(ScreeningRules(hold_stage=True), detector=asking)
    desk.takes(0.5, 2)
    assert desk.takes(0.1, 2) == pytest.approx(0.5)
    with refused(Reason.DEADLINE_TOO_SHORT):
        desk.holding.admit(desk.live, 0.4)


def test_a_slow_session_is_delayed_behind_the_clock() -> None:
    desk = Desk(ScreeningRules(hold_stage=True, sessions=SessionRules("slow", "alert", 60, 250)))
    desk.takes(0.5, 1)
    assert desk.takes(0.1, 0, session="slow") == pytest.approx(0.75)


@pytest.mark.parametrize(("remaining", "left"), [(0.2, 0.3), (0.0, 0.1), (-1.0, 0.1)])
def test_nobody_is_held_beyond_their_deadline(remaining: float, left: float) -> None:
    desk = Desk(ScreeningRules(hold_stage=True))
    desk.takes(0.5, 1)
    assert desk.takes(0.1, 0, remaining=remaining) == pytest.approx(left)


def test_who_has_less_time_than_the_clock_is_refused() -> None:
    desk = Desk(ScreeningRules(hold_stage=True))
    desk.holding.admit(desk.live, 0.1)
    desk.takes(0.5, 1)
    desk.holding.admit(desk.live, 0.5)
    desk.holding.admit(desk.live, None)
    with refused(Reason.DEADLINE_TOO_SHORT):
        desk.holding.admit(desk.live, 0.4)


@pytest.mark.parametrize(
    ("screen", "detector"),
    [(ScreeningRules(), STAGED), (ScreeningRules(hold_stage=True), replace(STAGED, first=None))],
)
def test_nobody_is_refused_where_no_clock_is_held(screen: ScreeningRules, detector: Any) -> None:
    desk = Desk(screen, detector=detector)
    desk.takes(0.5, 1)
    desk.holding.admit(desk.live, 0.001)


def test_a_clock_is_forgotten_where_nothing_runs_and_not_where_something_does() -> None:
    desk = Desk(ScreeningRules(hold_stage=True))
    desk.takes(0.5, 1)
    for number in range(2 * KEPT):
        with refused(Reason.DEADLINE_TOO_SHORT):
            desk.holding.admit(desk.live, 0.4)
        if number % 10 == 0:
            desk.takes(0.5, 1)
    for _ in range(KEPT - 1):
        with refused(Reason.DEADLINE_TOO_SHORT):
            desk.holding.admit(desk.live, 0.4)
    desk.holding.admit(desk.live, 0.4)
