"""A version that comes to no end while it is loaded holds up no revocation of others."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference.backends.local import LocalLoader
from inference.engine.engine import Engine
from inference.engine.trust_state import RollbackGuardFile
from inference.engine.version_contents import RESPONSE
from inference.runtime.settings import CpuSettings
from sealgate.reasons import Reason
from tests.support.fakes.blocking_worker import until
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import BETTER, only, promoted, resolved


def endless(graph: bytes) -> bytes:
    """The graph behind a loop without an end, which has rows as they are."""
    model = onnx.load_model_from_string(graph)
    for node in model.graph.node:
        node.input[:] = ["looped" if name == "x" else name for name in node.input]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["rows"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("rows", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    loop = helper.make_node("Loop", ["", "always", "x"], ["looped"], body=body)
    nodes = [loop, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


@pytest.fixture
def engine(registry: UncheckedRegistry, tmp_path: Path) -> Iterator[Engine]:
    loader = LocalLoader(CpuSettings(cores=2), load_seconds=2.0)
    seen = RollbackGuardFile.open(tmp_path / "seen.json")
    yield Engine(registry.anchor, seen, registry.clock, loader)
    # Its run was told to end, and its thread is gone.
    until(lambda: all(thread.name != "load" for thread in threading.enumerate()))


def test_the_alias_keeps_its_version_until_that_is_revoked(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    made = promoted(registry)
    engine.update(registry, registry)
    promoted(registry, BETTER | {RESPONSE: endless(BETTER[RESPONSE])})
    for _ in range(2):
        assert only(engine.update(registry, registry)) is Reason.RUN_HUNG
        assert resolved(engine) == 1
    registry.revoke(made)
    engine.update(registry, registry)
    assert resolved(engine) is Reason.VERSION_REVOKED


def test_what_ends_ends_before_anything_is_loaded(
    registry: UncheckedRegistry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = promoted(registry)
    engine.update(registry, registry)
    promoted(registry, BETTER)
    registry.revoke(made)
    found, read = [], registry.read

    def reading(digest: str) -> bytes:
        found.append(resolved(engine, 1))
        return read(digest)

    monkeypatch.setattr(registry, "read", reading)
    engine.update(registry, registry)
    assert set(found) == {Reason.VERSION_REVOKED}
    assert resolved(engine) == 2
