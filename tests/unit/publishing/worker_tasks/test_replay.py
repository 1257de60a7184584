"""Replay runs a version as a gateway does and compares the answers."""

import numpy as np
import pytest

from publishing.worker_tasks import replay
from publishing.worker_tasks.replay import Replayed, check_input, compare
from registry.sandbox.confinement import Confinement, SandboxLimits
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor
from sealgate.trust.receipts.answer_entry import ANCHOR, tensors_digest
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows, int8_logits

LOGITS = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
FOUND = Replayed("logits", LOGITS, "clean")


def digest(name: str, data: np.ndarray) -> str:
    tensor = Tensor.of(name, data)
    return tensors_digest([(tensor.name, tensor.datatype, tensor.shape, tensor.raw)])


def reason(*arguments: object) -> Reason:
    with pytest.raises(SealgateError) as caught:
        compare(*arguments)
    return caught.value.reason


def test_equal_bytes_are_an_equal_answer() -> None:
    assert compare(FOUND, "clean", digest("logits", LOGITS), None, 0.0).largest_difference == 0.0


def test_an_answer_that_is_a_little_off_needs_the_one_that_was_given() -> None:
    given = LOGITS + np.float32(1e-4)
    recorded = digest("logits", given)
    assert reason(FOUND, "clean", recorded, None, 1e-3) is Reason.REPLAY_MISMATCH
    assert reason(FOUND, "clean", recorded, LOGITS, 1e-3) is Reason.RECEIPT_MISMATCH
    assert reason(FOUND, "clean", recorded, given, 1e-6) is Reason.REPLAY_MISMATCH
    agreed = compare(FOUND, "clean", recorded, given, 1e-3)
    assert agreed.answer == "equal within 0.001"
    assert agreed.largest_difference == pytest.approx(1e-4, rel=0.01)


def test_an_answer_of_another_shape_is_never_near() -> None:
    given = LOGITS[:1]
    assert reason(FOUND, "clean", digest("logits", given), given, 9.0) is Reason.REPLAY_MISMATCH


def test_another_verdict_is_another_answer() -> None:
    assert reason(FOUND, "suspect", digest("logits", LOGITS), None, 0.0) is Reason.REPLAY_MISMATCH


def test_of_a_refusal_the_verdict_is_all() -> None:
    agreed = compare(Replayed("logits", LOGITS, "adversarial"), "adversarial", "", None, 0.0)
    assert agreed.answer == "none was given"


def test_a_version_runs_again_in_a_worker() -> None:
    perceptron = Perceptron.random(3, inputs=12, hidden=24, classes=3)
    version = VersionFiles.of(perceptron)
    rows = clean_rows(perceptron, 5)
    confinement = Confinement(SandboxLimits(memory=4 << 30, seconds=60))
    found = replay.replay(version.encode(), rows, confinement)
    np.testing.assert_array_equal(found.logits, int8_logits(perceptron, rows))
    assert found.verdict in ("clean", "suspect", "adversarial")
    assert check_input(version.config, rows.ravel(), digest("x", rows)).shape == rows.shape
    with pytest.raises(SealgateError) as caught:
        replay.replay(version.encode(), clean_rows(perceptron, 17), confinement)
    assert caught.value.reason is Reason.BATCH_TOO_LARGE
    altered = version.with_golden_off_by(1.0).encode()
    with pytest.raises(SealgateError) as caught:
        replay.replay(altered, rows, confinement)
    assert caught.value.reason is Reason.GOLDEN_MISMATCH


CLASS_LOGITS = np.array([[1.0, 2.0], [4.0, 3.0]], np.float32)


def class_digest(*classes: int) -> str:
    tensor = Tensor.of("label", np.array(classes, np.int64))
    return tensors_digest([(tensor.name, tensor.datatype, tensor.shape, tensor.raw)])


def test_a_label_only_answer_is_replayed() -> None:
    agreed = compare(
        Replayed("logits", CLASS_LOGITS, "suspect"), "suspect", class_digest(1, 0), None, 0.0
    )
    assert agreed.answer == "the same labels, which alone were given"


def test_other_classes_differ() -> None:
    with pytest.raises(SealgateError) as caught:
        compare(
            Replayed("logits", CLASS_LOGITS, "suspect"), "suspect", class_digest(1, 1), None, 0.0
        )
    assert caught.value.reason is Reason.REPLAY_MISMATCH


def test_the_class_of_a_row_that_was_nearly_repeated_is_told() -> None:
    single = Replayed("logits", CLASS_LOGITS[:1], "clean")
    agreed = compare(single, "clean", class_digest(0), None, 0.0, ANCHOR)
    assert agreed.answer == "class 0 of a row that was nearly repeated; its own is 1"
    assert "alone" in compare(single, "clean", class_digest(1), None, 0.0, ANCHOR).answer
    with pytest.raises(SealgateError) as caught:
        compare(single, "clean", class_digest(9), None, 0.0, ANCHOR)
    assert caught.value.reason is Reason.REPLAY_MISMATCH
    both = Replayed("logits", CLASS_LOGITS, "clean")
    assert "some not its own" in compare(both, "clean", class_digest(1, 1), None, 0, ANCHOR).answer
