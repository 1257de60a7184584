"""Models that take more than they may, published through the whole chain: refused, with nothing
signed.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from publishing.pipeline.build import PublisherKeys, build_version
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.watermark.key import Mark, WatermarkKey
from registry.sandbox.confinement import Confinement, SandboxLimits
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import ECDSA_P256, PrivateKey

DEMO = Path(__file__).parents[3] / "demo"
NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)


def with_burden(kind: str) -> SourceFolder:
    """The demo's digits model, whose logits have a zero added that is dear to compute."""
    source = SourceFolder.read(DEMO / "models" / "digits-standard")
    model = onnx.ModelProto.FromString(source.serving)
    graph, logits = model.graph, source.config.output.name
    for node in graph.node:
        node.output[:] = ["plain" if name == logits else name for name in node.output]
    constants, nodes = _BURDENS[kind](source.config.input.name)
    graph.initializer.extend(constants)
    graph.node.extend([*nodes, helper.make_node("Add", ["plain", "zero"], [logits])])
    return replace(source, serving=model.SerializeToString())


def _memory(name: str) -> tuple[list[TensorProto], list[onnx.NodeProto]]:
    """Sixteen GiB of one input value, added up and made nothing."""
    constants = {"many": np.array([2**32], np.int64), "nought": np.array(0, np.float32)}
    nodes = [
        helper.make_node("ReduceMax", [name], ["one"], keepdims=0),
        helper.make_node("Expand", ["one", "many"], ["wide"]),
        helper.make_node("ReduceMax", ["wide"], ["back"], keepdims=0),
        helper.make_node("Mul", ["back", "nought"], ["zero"]),
    ]
    return _tensors(constants), nodes


def _time(name: str) -> tuple[list[TensorProto], list[onnx.NodeProto]]:
    """A loop of 2^62 rounds around one input value."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Neg", ["before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, []),
        ],
    )
    constants = {
        "rounds": np.array(2**62, np.int64),
        "yes": np.array(True),
        "nought": np.array(0, np.float32),
    }
    nodes = [
        helper.make_node("ReduceMax", [name], ["one"], keepdims=0),
        helper.make_node("Loop", ["rounds", "yes", "one"], ["back"], body=body),
        helper.make_node("Mul", ["back", "nought"], ["zero"]),
    ]
    return _tensors(constants), nodes


_BURDENS = {"memory": _memory, "time": _time}


def _tensors(values: dict[str, np.ndarray]) -> list[TensorProto]:
    return [numpy_helper.from_array(value, name) for name, value in values.items()]


class Journal:
    """Commitments and steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def commit(self, model: str, commitment: str) -> int:
        return 7

    def progress(self, step: str, detail: str) -> None:
        self.steps.append(step)


def refusal(source: SourceFolder, limits: SandboxLimits) -> tuple[SealgateError, Journal]:
    journal = Journal()
    with pytest.raises(SealgateError) as refused:
        build_version(
            source,
            Dataset.read(DEMO / "data" / "digits.safetensors"),
            Mark(WatermarkKey("digits", bytes(range(32))), bytes(4), sha256(source.serving)),
            signers=PublisherKeys("maker", PrivateKey.generate(ECDSA_P256), PrivateKey.generate()),
            commitments=journal,
            clock=lambda: NOW,
            seed=1,
            progress=journal.progress,
            confinement=Confinement(limits),
        )
    return refused.value, journal


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        ("memory", SandboxLimits(memory=4 << 30, seconds=60)),
        ("time", SandboxLimits(memory=4 << 30, seconds=6)),
    ],
)
def test_a_model_that_takes_too_much_is_refused(kind: str, limits: SandboxLimits) -> None:
    refused, journal = refusal(with_burden(kind), limits)
    assert refused.reason is Reason.WORKER_LIMIT
    assert journal.steps == ["commit", "mark"]
