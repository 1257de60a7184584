"""A text is answered the same alone and in a batch."""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from inference.engine import version_contents
from publishing.calibration.served_rows import ServedVectors
from publishing.worker_tasks.forward import ServingGraph, run_golden
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.text_models import dataset, source, version_files

Floats = npt.NDArray[np.float32]
CONFIG = source().config


class Means:
    """Answers with the means of texts, in which every bit of them shows."""

    def __init__(self) -> None:
        files = version_files()
        self._vectors = ServedVectors.of(
            files[version_contents.INT8], files[version_contents.FP32], CONFIG
        )

    def logits(self, rows: npt.NDArray[np.int64]) -> Floats:
        return np.asarray(self._vectors.of_rows(rows).vectors)


def test_the_mean_of_a_text_does_not_depend_on_its_batch() -> None:
    rows, means = dataset().test.x, Means()
    together = means.logits(rows)
    assert np.array_equal(np.concatenate([means.logits(row[np.newaxis]) for row in rows]), together)
    run_golden(means, dataset().test, np.random.default_rng(1))


def test_a_batch_is_answered_as_by_the_signed_graph() -> None:
    files, rows = version_files(), dataset().test.x
    served = ServingGraph.of(files[version_contents.INT8], CONFIG)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    signed = onnxruntime.InferenceSession(
        files[version_contents.INT8], options, providers=["CPUExecutionProvider"]
    )
    (expected,) = served.form.run(
        rows, lambda part: tuple(signed.run(["logits"], served.form.serving(part)))
    )
    assert np.array_equal(served.logits(rows), expected)


def test_a_model_whose_answers_change_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        fp32, int8 = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        fp32.write_bytes(source().serving)
        quantize_dynamic(fp32, int8, weight_type=QuantType.QInt8)
        dynamic = ServingGraph.of(int8.read_bytes(), CONFIG)
    with pytest.raises(SealgateError) as refused:
        run_golden(dynamic, dataset().test, np.random.default_rng(1))
    assert refused.value.reason is Reason.GOLDEN_MISMATCH
