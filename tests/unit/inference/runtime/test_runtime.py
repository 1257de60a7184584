"""Sessions: what is opened from memory, and what never reaches onnxruntime."""

import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from inference.runtime.session import Session, scalar
from registry.formats.format_check import check_file
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused
from tests.support.builders.models.onnx_models import Perceptron, constant_model, with_external_data

MODEL = Perceptron.random()


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", data)
    return buffer.getvalue()


def test_a_graph_runs_from_memory() -> None:
    x = np.ones((3, MODEL.inputs), np.float32)
    session = Session.open(MODEL.serving(), ("logits",), threads=2)
    assert session.inputs == {"x"}
    (logits,) = session.run({"x": x})
    assert np.allclose(logits, MODEL.logits(x), atol=1e-5)


def test_only_the_outputs_asked_for_are_given() -> None:
    session = Session.open(MODEL.response(), ("features",))
    feeds = {
        "x": np.ones((2, MODEL.inputs), np.float32),
        "label": np.array([-1, 0]),
        "eps": scalar(0.1),
        "clip_min": scalar(0),
        "clip_max": scalar(1),
    }
    assert [part.shape for part in session.run(feeds)] == [(2, 4)]
    assert [part.shape for part in session.run(feeds, ("logits", "x_adv"))] == [(2, 3), (2, 8)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.FORMAT_REFUSED),
        (b"not a graph at all", Reason.FORMAT_REFUSED),
        (pickle.dumps({"weights": [1.0, 2.0]}), Reason.FORMAT_REFUSED),
        (zipped(MODEL.serving()), Reason.FORMAT_REFUSED),
        (MODEL.serving()[:-40], Reason.FORMAT_REFUSED),
        (with_external_data(MODEL.serving()), Reason.EXTERNAL_DATA),
    ],
    ids=["empty", "text", "pickle", "zip", "truncated", "external"],
)
def test_what_is_no_plain_onnx_never_reaches_onnxruntime(
    data: bytes, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*_: Any, **__: Any) -> None:
        raise AssertionError("onnxruntime was asked")

    monkeypatch.setattr(onnxruntime, "InferenceSession", unexpected)
    with pytest.raises(SealgateError) as refused:
        Session.open(data, ("logits",))
    assert refused.value.reason is reason


def test_a_missing_output_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        Session.open(constant_model(), ("logits",))
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_what_onnxruntime_cannot_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.runtime.session.check_file", lambda path, data: None)
    with pytest.raises(SealgateError) as refused:
        Session.open(b"\x00\x01 no graph", ("logits",))
    assert refused.value.reason is Reason.FORMAT_REFUSED


def test_another_provider_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        onnxruntime.InferenceSession,
        "get_providers",
        lambda _: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    with pytest.raises(SealgateError) as refused:
        Session.open(MODEL.serving(), ("logits",))
    assert refused.value.reason is Reason.FORMAT_REFUSED


@pytest.mark.parametrize(
    "feeds",
    [
        {"x": np.ones((1, 5), np.float32)},
        {"x": np.ones((1, 8), np.float64)},
        {"y": np.ones((1, 8), np.float32)},
        {},
    ],
    ids=["shape", "type", "name", "none"],
)
def test_a_run_that_fails_is_ours_to_explain(feeds: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as refused:
        Session.open(MODEL.serving(), ("logits",)).run(feeds)
    assert refused.value.reason is Reason.INTERNAL


_DEPTH = 25
_OPERATORS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def unfolding() -> bytes:
    """One node that stands for two to the power of `_DEPTH`."""
    calls = [[helper.make_node("Neg", ["x"], ["y"])]]
    for level in range(_DEPTH):
        name = f"f{level}"
        first = helper.make_node(name, ["x"], ["half"], domain="own")
        calls.append([first, helper.make_node(name, ["half"], ["y"], domain="own")])
    functions = [
        helper.make_function("own", f"f{level}", ["x"], ["y"], nodes, _OPERATORS)
        for level, nodes in enumerate(calls)
    ]
    rows = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy"]
    node = helper.make_node(f"f{_DEPTH}", ["x"], ["y"], domain="own")
    graph = helper.make_graph([node], "graph", rows[:1], rows[1:])
    model = helper.make_model(graph, functions=functions, opset_imports=_OPERATORS, ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.timeout(120)
def test_nested_functions_that_expand_exponentially_are_refused() -> None:
    graph = unfolding()
    assert len(graph) < 4096
    with refused(Reason.FORMAT_REFUSED):
        check_file("model.int8.onnx", graph)
    with refused(Reason.FORMAT_REFUSED):
        Session.open(graph, ["y"])


ROOT = Path(__file__).parents[4]
LOADERS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("demo", "inference", "publishing", "training")
    for path in (ROOT / package).rglob("*.py")
    if re.search(r"^(import|from) onnxruntime\b", path.read_text(), re.MULTILINE)
)
"""The modules that load ONNX Runtime, any of which may be the first: of a worker, say."""

_COUNT = """
import os, numpy, scipy.linalg  # both have threads of their own
before = len(os.listdir("/proc/self/task"))
import {module}
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize("module", LOADERS)
def test_loading_onnxruntime_starts_no_telemetry_thread(module: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", _COUNT.format(module=module)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=True, env=environment
    )
    assert int(done.stdout) == 0
