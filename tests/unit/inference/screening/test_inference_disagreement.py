"""A version whose answers are compared with the float32 model that screening measures."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from inference.engine import version_contents
from inference.engine.batch_run import ServingTarget
from inference.engine.ready_version import ReadyVersion
from inference.engine.result import InferenceResult
from inference.model.golden import Golden
from inference.runtime.settings import RunSettings, RuntimeSettings
from inference.screening.detector import DISAGREEING, Verdict
from inference.screening.scoring import FeatureScaling, ScoreTail, ScoringWeights
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.builders.models.compared_version import (
    APART,
    FILES,
    MODEL,
    SURE,
    asked_below,
    build,
)
from tests.support.builders.models.two_stages import two_stage_files
from tests.support.builders.models.version_files import (
    compared,
    int8_logits,
    margin,
)


@pytest.fixture(scope="module")
def ready() -> ReadyVersion:
    return build(compared(FILES.detector))


def verdict(ready: ReadyVersion, row: np.ndarray) -> Verdict:
    return ready.submit(row[np.newaxis]).verdict


def test_an_answer_that_only_int8_gives_is_adversarial(ready: ReadyVersion) -> None:
    assert {verdict(ready, row) for row in APART} == {Verdict.ADVERSARIAL}
    assert {verdict(ready, row) for row in SURE} == {Verdict.CLEAN}
    before = build(FILES.detector)
    assert Verdict.CLEAN in {verdict(before, row) for row in APART}


def test_an_older_detector_measures_what_it_did(ready: ReadyVersion) -> None:
    x = np.concatenate([SURE[:8], APART[:8]])
    before, now = build(FILES.detector).submit(x), ready.submit(x)
    assert np.array_equal(now.features[:, :-1], before.features)
    assert np.array_equal(now.outputs["logits"], before.outputs["logits"])


def test_each_row_is_compared_in_whatever_company(ready: ReadyVersion) -> None:
    x = np.stack([SURE, APART], axis=1).reshape(-1, MODEL.inputs)[:16]
    together = ready.submit(x)
    assert together.features[:, -1].tolist() == [0, 1] * 8
    assert together.score == DISAGREEING
    alone = [ready.submit(row[np.newaxis]).features[0, -1] for row in x]
    assert alone == together.features[:, -1].tolist()
    parts = ready.answer([x[:1], x[1:3], x[4:5]])
    found = [part.verdict for part in parts]
    assert found == [Verdict.CLEAN, Verdict.ADVERSARIAL, Verdict.CLEAN]


def test_a_batch_of_fixed_size_compares_its_own_rows() -> None:
    running = RunSettings(RuntimeSettings(deterministic=True))
    ready = build(compared(FILES.detector), running=running)
    assert {verdict(ready, row) for row in APART} == {Verdict.ADVERSARIAL}
    assert {verdict(ready, row) for row in SURE} == {Verdict.CLEAN}


@pytest.mark.parametrize("deterministic", [False, True])
def test_rows_that_the_first_stage_lets_pass_have_no_twin(deterministic: bool) -> None:
    """Its score is the margin's, and that of rows on which both disagree is small."""
    files, staged = two_stage_files(MODEL, -0.5)
    running = RunSettings(RuntimeSettings(deterministic=deterministic))
    ready = build(compared(staged), files, running=running)
    x = np.concatenate([SURE[:4], APART])
    answer = ready.submit(x)
    on = margin(int8_logits(MODEL, x)) < 0.5
    assert not on[:4].any()
    assert on[4:].any()
    scores = ready.detector.scores(answer.features)
    assert (scores[on & (np.arange(16) >= 4)] == DISAGREEING).all()
    assert (scores[~on] <= 0).all()
    assert answer.graph_rows == on.sum()
    if not deterministic:
        assert np.isnan(answer.features[~on, -1]).all()


@pytest.fixture(scope="module")
def by_float32() -> ReadyVersion:
    return build(compared(FILES.detector, FLOAT32))


def test_where_int8_disagrees_the_float32_class_leaves(by_float32: ReadyVersion) -> None:
    x = np.stack([SURE, APART], axis=1).reshape(-1, MODEL.inputs)[:16]
    answer, int8, float32 = by_float32.submit(x), int8_logits(MODEL, x), MODEL.logits(x)
    logits = answer.outputs["logits"]
    assert np.array_equal(logits[0::2], int8[0::2])
    assert np.allclose(logits[1::2], float32[1::2], atol=1e-5)
    assert np.array_equal(logits.argmax(axis=1), float32.argmax(axis=1))
    assert (int8[1::2].argmax(axis=1) != logits[1::2].argmax(axis=1)).all()
    assert (answer.float32_rows, answer.arithmetic("int8")) == (8, "mixed")
    # It is nobody's alarm.
    assert answer.score == build(FILES.detector).submit(x).score


def test_a_float32_answer_does_not_depend_on_its_company(by_float32: ReadyVersion) -> None:
    x = np.stack([SURE, APART], axis=1).reshape(-1, MODEL.inputs)[:16]
    together = by_float32.submit(x).outputs["logits"]
    for row, logits in zip(x, together, strict=True):
        assert np.array_equal(by_float32.submit(row[np.newaxis]).outputs["logits"][0], logits)
    sure, apart, both = by_float32.answer([x[:1], x[1:2], x[2:4]])
    found = [each.arithmetic("int8") for each in (sure, apart, both)]
    assert found == ["int8", "float32", "mixed"]


def test_golden_answers_are_those_that_leave() -> None:
    x = np.concatenate([SURE, APART])
    detector = compared(FILES.detector, FLOAT32)
    for logits, holds in ((MODEL.logits(x), True), (int8_logits(MODEL, x), False)):
        golden = Golden(
            x, np.where(np.arange(24)[:, np.newaxis] < 12, int8_logits(MODEL, x), logits)
        )
        files = FILES.encode() | {version_contents.GOLDEN: golden.encode()}
        if holds:
            assert build(detector, files).digest
            continue
        with pytest.raises(SealgateError) as refused:
            build(detector, files)
        assert refused.value.reason is Reason.GOLDEN_MISMATCH


def test_no_row_whose_class_could_differ_passes_the_first_stage() -> None:
    files, staged = two_stage_files(MODEL, -0.01)
    x, float32 = APART, MODEL.logits(APART)
    off = int8_logits(MODEL, x) - float32
    assert staged.first is not None
    for most, held in ((0.0, False), (float((off.max(axis=1) - off.min(axis=1)).max()), True)):
        first = replace(staged.first, least_margin=most)
        answer = build(compared(replace(staged, first=first), FLOAT32), files).submit(x)
        left = answer.outputs["logits"].argmax(axis=1)
        assert (left == float32.argmax(axis=1)).all() == held
        assert (answer.float32_rows == len(x)) is held


class Elsewhere:
    """Another server, which answers each row of a batch by itself.

    A matrix product of BLAS rounds a row by the rows beside it, on some processors.
    """

    def __init__(self, turned: bool) -> None:
        self.turned = turned

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        logits = np.concatenate([MODEL.logits(row[np.newaxis]) for row in feeds["x"]])
        return [-logits if self.turned else logits]


@pytest.mark.parametrize("stages", [1, 2])
def test_what_is_compared_is_what_was_answered(stages: int) -> None:
    files, detector = (
        (FILES.encode(), FILES.detector) if stages == 1 else two_stage_files(MODEL, -9)
    )
    near = ServingTarget(Elsewhere(False), 1, "elsewhere", tolerance=9.0)
    ready = build(compared(detector), files, serving=near)
    assert (ready.submit(APART).features[:, -1] == 0).all()
    ready.served = Elsewhere(True)
    assert (ready.submit(SURE).features[:, -1] == 1).all()


class Boasting:
    """Another server, whose answers are all of class 0, by the widest margin there is."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        most = np.finfo(np.float32).max
        return [np.tile(np.array([most, -most, -most], np.float32), (len(feeds["x"]), 1))]


@pytest.mark.parametrize("stages", [1, 2])
def test_another_servers_margin_spares_it_no_comparison(stages: int) -> None:
    files, detector = (
        (FILES.encode(), FILES.detector) if stages == 1 else two_stage_files(MODEL, -9)
    )
    near = ServingTarget(Elsewhere(False), 1, "elsewhere", tolerance=9.0)
    ready = build(asked_below(detector, 1e-6), files, serving=near)
    for served in (Elsewhere(True), Boasting()):
        ready.served = served
        own = MODEL.logits(SURE).argmax(axis=1)
        answer = ready.submit(SURE)
        assert np.array_equal(answer.outputs["logits"].argmax(axis=1), own)
        turned = served.run({"x": SURE})[0].argmax(axis=1) != own
        assert turned.any()
        assert answer.float32_rows == turned.sum()


def test_an_answer_of_another_shape_is_refused(ready: ReadyVersion) -> None:
    class Odd:
        def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            return [np.zeros((len(feeds["x"]), 2), np.float32)]

    odd = build(compared(FILES.detector))
    odd.served = Odd()  # type: ignore[assignment]
    with pytest.raises(SealgateError) as refused:
        odd.submit(SURE[:2])
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_the_comparison_is_no_feature_of_the_graph() -> None:
    weights = ScoringWeights(0.0, (1.0,) * 3, (0.0,) * 6, ScoreTail(0.0, 1.0))
    scaling = FeatureScaling((0.0,) * 3, (1.0,) * 3, 6.0)
    narrow = replace(FILES.detector, scaling=scaling, clean=weights, trained=weights)
    # As wide as the graph's features, with one of them missing.
    assert compared(narrow).width == FILES.detector.width
    with pytest.raises(SealgateError) as refused:
        build(compared(narrow))
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_what_crossed_a_wire_is_judged_alike(ready: ReadyVersion) -> None:
    for x in (APART, SURE):
        here = ready.submit(x)
        there = InferenceResult.judged(here.outputs, here.features, ready.detector)
        assert (there.score, there.verdict) == (here.score, here.verdict)


def test_so_is_whose_answer_left(by_float32: ReadyVersion) -> None:
    for x, arithmetic in ((APART, "float32"), (SURE, "int8")):
        here = by_float32.submit(x)
        there = InferenceResult.judged(here.outputs, here.features, by_float32.detector)
        assert there.arithmetic("int8") == here.arithmetic("int8") == arithmetic
