"""A version made ready: how its files must agree, and how its answers are parted by request."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from inference.engine.ready_version import ReadyVersion
from inference.engine.statistics import Duration
from inference.model.config import Batching
from inference.runtime.session import Session
from inference.runtime.settings import CpuSettings
from inference.screening.detector import Verdict
from inference.screening.scoring import ScoreTail, ScoringWeights
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.onnx_models import Perceptron, constant_model
from tests.support.builders.models.version_files import (
    VersionFiles,
    clean_rows,
    int8_logits,
    margin,
)

CPU = CpuSettings(cores=2)
MODEL = Perceptron.random()
OTHER = Perceptron.random(seed=1)
FILES = VersionFiles.of(MODEL)


def build(files: Mapping[str, bytes]) -> ReadyVersion:
    return ReadyVersion.build("sha256:" + "0" * 64, files, CPU)


def refused(files: Mapping[str, bytes]) -> Reason:
    with pytest.raises(SealgateError) as caught:
        build(files)
    return caught.value.reason


@pytest.fixture(scope="module")
def ready() -> ReadyVersion:
    return build(FILES.encode())


def nudged(model: Perceptron, by: float) -> Perceptron:
    return replace(model, b2=model.b2 + np.float32(by))


def test_a_response_graph_of_other_weights_is_refused() -> None:
    assert refused(FILES.encode(response_onnx=OTHER.response())) is Reason.GRAPH_MISMATCH


def test_the_forwards_may_differ_by_rounding_alone() -> None:
    near, far = nudged(MODEL, 5e-5), nudged(MODEL, 3e-4)
    build(FILES.encode(response_onnx=near.response()))
    assert refused(FILES.encode(response_onnx=far.response())) is Reason.GRAPH_MISMATCH


@pytest.mark.parametrize(
    "graph",
    [MODEL.serving(), Perceptron.random(classes=4).response(), constant_model()],
    ids=["serving", "sizes", "foreign"],
)
def test_what_is_no_response_graph_of_this_model_is_refused(graph: bytes) -> None:
    assert refused(FILES.encode(response_onnx=graph)) is Reason.GRAPH_MISMATCH


def test_a_classifier_takes_the_one_input_of_the_configuration() -> None:
    assert refused(FILES.encode(model_int8_onnx=MODEL.response())) is Reason.GRAPH_MISMATCH


def test_a_detector_of_another_width_is_refused() -> None:
    detector = FILES.detector
    scaling = replace(detector.scaling, center=(0.0,) * 3, spread=(1.0,) * 3)
    weights = ScoringWeights(0.0, (1.0,) * 3, (0.0,) * 6, ScoreTail(0.0, 1.0))
    narrow = replace(detector, scaling=scaling, clean=weights, trained=weights)
    assert refused(FILES.encode(detector_json=narrow.encode())) is Reason.GRAPH_MISMATCH


def test_golden_answers_must_come_out() -> None:
    assert refused(FILES.encode(model_int8_onnx=OTHER.int8())) is Reason.GOLDEN_MISMATCH
    assert refused(FILES.with_golden_off_by(1e-3).encode()) is Reason.GOLDEN_MISMATCH


def test_golden_answers_may_be_off_by_another_machines_rounding() -> None:
    build(FILES.with_golden_off_by(1e-6).encode())


def test_the_float32_graph_does_not_pass_for_the_int8_one() -> None:
    assert refused(FILES.encode(model_int8_onnx=MODEL.serving())) is Reason.GOLDEN_MISMATCH


@pytest.mark.parametrize(
    "tensors",
    [
        {"x": FILES.golden.x},
        {"x": FILES.golden.x, "logits": FILES.golden.logits[:-1]},
        {"x": FILES.golden.x[:0], "logits": FILES.golden.logits[:0]},
        {"x": FILES.golden.x[:, :-1], "logits": FILES.golden.logits},
        {"x": FILES.golden.x, "logits": FILES.golden.logits.astype(np.float64)},
        {"x": FILES.golden.x, "logits": FILES.golden.logits, "more": FILES.golden.x},
        {"x": np.full_like(FILES.golden.x, np.nan), "logits": FILES.golden.logits},
    ],
    ids=["missing", "rows", "none", "shape", "type", "surplus", "nan"],
)
def test_golden_tensors_of_another_form_are_refused(tensors: dict[str, np.ndarray]) -> None:
    plain = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    data = safetensors.numpy.save(plain)
    assert refused(FILES.encode(golden_safetensors=data)) is Reason.FORMAT_REFUSED


def test_golden_bytes_that_are_no_safetensors_are_refused() -> None:
    assert refused(FILES.encode(golden_safetensors=b"\x80\x04pickle")) is Reason.FORMAT_REFUSED


@pytest.mark.parametrize("path", ["model_json", "detector_json"])
def test_documents_must_be_canonical(path: str) -> None:
    data = FILES.encode()[path.replace("_", ".")]
    assert refused(FILES.encode(**{path: data + b" "})) is Reason.DOCUMENT_MALFORMED


def test_answers_are_equal_bit_for_bit_in_any_company(ready: ReadyVersion) -> None:
    x = clean_rows(MODEL, 200, seed=11)
    expected = int8_logits(MODEL, x)
    rng = np.random.default_rng(2)
    for _ in range(20):
        order = rng.permutation(200)[:16]
        cuts = np.sort(rng.choice(np.arange(1, 16), rng.integers(0, 15), replace=False))
        requests = [x[part] for part in np.split(order, cuts)]
        answers = ready.answer(requests)
        assert len(answers) == len(requests)
        together = np.concatenate([answer.outputs["logits"] for answer in answers])
        assert together.tobytes() == expected[order].tobytes()


def test_each_request_hears_of_its_own_worst_row(ready: ReadyVersion) -> None:
    x = clean_rows(MODEL, 4000, seed=12)
    margins = margin(MODEL.logits(x))
    order = np.argsort(margins)
    narrow, wide = x[order[:2]], x[order[-4:]]
    requests = [wide[:2], np.stack([wide[2], narrow[0], wide[3]]), narrow[1:]]
    answers = ready.answer(requests)
    assert [answer.verdict for answer in answers] == [
        Verdict.CLEAN,
        Verdict.ADVERSARIAL,
        Verdict.ADVERSARIAL,
    ]
    alone = [ready.answer([rows])[0] for rows in requests]
    scores = [answer.score for answer in answers]
    assert scores == pytest.approx([answer.score for answer in alone], abs=1e-4)
    assert scores[1] == pytest.approx(ready.answer([narrow[:1]])[0].score, abs=1e-4)
    assert {answer.threshold for answer in answers} == {FILES.detector.threshold}


def test_a_row_without_a_score_is_adversarial_and_stays_alone(ready: ReadyVersion) -> None:
    x = clean_rows(MODEL, 3, seed=13)
    x[1] = 3e38
    answers = ready.answer([x[:1], x[1:2], x[2:]])
    assert answers[1].verdict is Verdict.ADVERSARIAL
    both = ready.answer([x[:2], x[2:]])
    assert both[0].verdict is Verdict.ADVERSARIAL
    calm = ready.answer([x[:1], x[2:]])
    assert [calm[0].verdict, calm[1].verdict] == [answers[0].verdict, answers[2].verdict]


@pytest.mark.parametrize("most", [1, 2])
def test_a_version_of_small_batches(most: int) -> None:
    config = replace(FILES.config, batching=Batching(max_rows=most, delay_us=0, queue_rows=most))
    ready = build(FILES.encode(model_json=config.encode()))
    x = clean_rows(MODEL, most)
    answer = ready.batcher.submit(x)
    assert np.array_equal(answer.outputs["logits"], int8_logits(MODEL, x))


def test_answers_that_change_with_their_company_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dynamic quantization would do this: its scales come from the whole batch."""
    run = Session.run

    def drifting(
        session: Session, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] = ()
    ) -> list[np.ndarray]:
        found = run(session, feeds, outputs)
        alone = session.inputs == {"x"} and len(feeds["x"]) == 1
        return [part + np.float32(1e-6) for part in found] if alone else found

    monkeypatch.setattr(Session, "run", drifting)
    assert refused(FILES.encode()) is Reason.GOLDEN_MISMATCH


def test_only_requests_count_and_not_the_golden_runs() -> None:
    version = build(FILES.encode())
    assert version.statistics.report(Duration()).executions == 0
    version.batcher.submit(clean_rows(MODEL, 3))
    report = version.statistics.report(Duration())
    assert (report.executions, report.inferences, list(report.by_size)) == (1, 3, [3])
    assert all(ns > 0 for ns in report.by_request.phases)
    assert report.by_request == report.by_size[3]
