"""Golden files as a caller reads them, held against the library that writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from sealgate.client.request import InferResult
from sealgate.health.golden_inputs import GoldenRows, read_tensors
from sealgate.probes import PROBES
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.harness.gateway import DATA

X = np.arange(12, dtype=np.float32).reshape(4, 3)
LOGITS = np.arange(8, dtype=np.float32).reshape(4, 2)


def model(datatype: str = "FP32") -> bytes:
    given = {"input": {"name": "x", "datatype": datatype}, "output": {"name": "logits"}}
    return json.dumps(given).encode()


def golden(x: Any = X, logits: Any = LOGITS) -> bytes:
    return bytes(save({"x": x, "logits": logits}))


def test_tensors_are_those_that_were_saved() -> None:
    probe = np.array([[1, -1]], np.int64)
    found = read_tensors(bytes(save({"x": X, "probe": probe}, {"made": "by a test"})))
    assert found.keys() == {"x", "probe"}
    assert np.array_equal(found["x"], X)
    assert np.array_equal(found["probe"], probe)


def test_a_file_of_the_demo_reads_as_by_the_library(tmp_path: Path) -> None:
    source = load_file(DATA / "digits.safetensors")
    rows = source["x_test"].astype(np.float32)[:5]
    assert np.array_equal(read_tensors(golden(rows))["x"], rows)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        golden()[:-1],
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{]",
        golden().replace(b"F32", b"F99"),
        golden().replace(b"data_offsets", b"data_offsetz"),
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with refused(Reason.FORMAT_REFUSED):
        read_tensors(data)


@pytest.mark.parametrize(
    ("document", "data"),
    [
        (b"{}", golden()),
        (b"[]", golden()),
        (model(), bytes(save({"x": X}))),
        (model(), golden(logits=LOGITS[:2])),
        (model(), golden(X[:0], LOGITS[:0])),
        (model(), golden(logits=LOGITS.ravel()[:4])),
    ],
)
def test_files_that_do_not_belong_together_are_refused(document: bytes, data: bytes) -> None:
    with refused(Reason.FORMAT_REFUSED):
        GoldenRows.of(document, data)


@pytest.mark.parametrize(
    ("most", "firsts"), [(1, [0]), (2, [0, 9]), (3, [0, 6, 9]), (9, [0, 3, 6, 9])]
)
def test_rows_are_spread_evenly(most: int, firsts: list[int]) -> None:
    rows = list(GoldenRows.of(model(), golden()).rows(most))
    assert [int(inputs["x"][0, 0]) for inputs, _ in rows] == firsts
    for inputs, expected in rows:
        assert (inputs["x"].shape, expected.shape) == ((1, 3), (1, 2))


def test_tokens_come_with_their_mask() -> None:
    ids = np.array([[5, 7, -1], [0, -1, -1]], np.int64)
    found = GoldenRows.of(model("INT64"), golden(ids, LOGITS[:2])).inputs
    assert found["input_ids"].tolist() == [[5, 7, 0], [0, 0, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 0], [1, 0, 0]]


def of_texts(room: list[bool], answers: int = len(PROBES)) -> bytes:
    """A text model's file: where there is `room`, a probe does not fill its row of two tokens."""
    probe = np.array([[5, -1 if each else 6] for each in room], np.int64)
    logits = np.arange(2 * answers, dtype=np.float32).reshape(answers, 2)
    ids = np.zeros((1, 2), np.int64)
    tensors = {"x": ids, "logits": LOGITS[:1], "probe": probe, "probe_logits": logits}
    return bytes(save(tensors))


def test_of_texts_the_probes_are_asked_that_are_not_cut_short() -> None:
    found = GoldenRows.of(model("BYTES"), of_texts([True, False, *[True] * (len(PROBES) - 2)]))
    assert [text.decode() for text in found.inputs["x"]] == [PROBES[0], *PROBES[2:]]
    assert found.answers[:, 0].tolist() == [0, *range(4, 2 * len(PROBES), 2)]


def test_a_text_model_may_be_too_narrow_for_every_probe() -> None:
    assert not list(GoldenRows.of(model("BYTES"), of_texts([False] * len(PROBES))).rows(8))


@pytest.mark.parametrize(
    "data",
    [
        golden(np.zeros((1, 2), np.int64), LOGITS[:1]),
        of_texts([True] * (len(PROBES) - 1)),
        of_texts([True] * len(PROBES), len(PROBES) - 1),
    ],
)
def test_a_text_model_s_file_without_its_probes_is_refused(data: bytes) -> None:
    with refused(Reason.FORMAT_REFUSED):
        GoldenRows.of(model("BYTES"), data)


NUMBERS = {"kind": "numbers", "tolerance": [0.5], "spread": [1.0], "levels": [[0.0], [1.0]]}
LABELS = {"kind": "labels", "threshold": 0.5, "levels": [[0.0, 1.0], [1.0, 1.0]]}


@pytest.mark.parametrize(
    ("section", "expected", "outputs", "same"),
    [
        (NUMBERS, [[1.2]], {"rounded": [[1.0]]}, True),
        (NUMBERS, [[1.2]], {"rounded": [[1.5]]}, False),
        (NUMBERS, [[1.2]], {"label": [1]}, False),
        (LABELS, [[0.2, 0.9]], {"label": [[0, 1]]}, True),
        (LABELS, [[0.2, 0.9]], {"label": [[1, 1]]}, False),
    ],
)
def test_what_is_left_of_numbers_and_labels_is_compared(
    section: Any, expected: Any, outputs: Any, same: bool
) -> None:
    answers = np.array(expected, np.float32)
    document = json.loads(model()) | {"answer": section}
    x = np.zeros((len(answers), 3), np.float32)
    rows = GoldenRows.of(json.dumps(document).encode(), golden(x, answers))
    found = {name: np.array(value) for name, value in outputs.items()}
    given = InferResult(found, "m", 1, "", None)  # type: ignore[arg-type]
    assert rows.compare(given, answers, 1e-4)[0] is same
