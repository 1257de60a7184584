"""A graph that answers in another shape than it declares is not loaded, and does not block other
versions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import pytest
from onnx import helper

from inference.backends.local import LocalLoader
from inference.engine.engine import Engine, UpdateResult
from inference.engine.ready_version import ReadyVersion
from inference.engine.trust_state import RollbackGuardFile
from inference.runtime.settings import CpuSettings
from sealgate.reasons import Reason
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles
from tests.support.fakes.registry import UncheckedRegistry

MODEL = Perceptron.random()
FILES = VersionFiles.of(MODEL)
GOOD = FILES.encode()


@pytest.fixture
def registry() -> UncheckedRegistry:
    return UncheckedRegistry()


@pytest.fixture
def engine(registry: UncheckedRegistry, tmp_path: Path) -> Engine:
    seen = RollbackGuardFile.open(tmp_path / "seen.json")
    return Engine(registry.anchor, seen, registry.clock, LocalLoader(CpuSettings(cores=2)))


def doubled(graph: bytes, output: str, axis: int) -> bytes:
    """The graph with an output beside itself, declared as it was."""
    model = onnx.load_model_from_string(graph)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}_once" if name == output else name for name in names]
    once = f"{output}_once"
    model.graph.node.append(helper.make_node("Concat", [once, once], [output], axis=axis))
    return bytes(model.SerializeToString())


BROKEN = {
    "features": FILES.encode(response_onnx=doubled(MODEL.response(), "features", 1)),
    "rows": FILES.encode(model_int8_onnx=doubled(MODEL.int8(), "logits", 0)),
}


def reasons(update: UpdateResult) -> Sequence[tuple[str, Reason]]:
    return [(rejected.model, rejected.reason) for rejected in update.rejected]


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
def test_a_graph_of_another_shape_is_not_loaded(
    registry: UncheckedRegistry, engine: Engine, files: Mapping[str, bytes]
) -> None:
    registry.promote(registry.publish(GOOD, model="first"), model="first")
    registry.promote(registry.publish(files, model="broken"), model="broken")
    update = engine.update(registry, registry)
    assert update.loaded == (("first", "production"),)
    assert reasons(update) == [("broken", Reason.GRAPH_MISMATCH)]


def test_an_error_of_one_version_does_not_block_others(
    registry: UncheckedRegistry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.publish(GOOD, model="first")
    registry.promote(version, model="first")
    engine.update(registry, registry)
    registry.promote(registry.publish(BROKEN["rows"], model="broken"), model="broken")
    registry.revoke(version)

    def fail(*_arguments: object) -> ReadyVersion:
        raise MemoryError

    monkeypatch.setattr(ReadyVersion, "build", fail)
    update = engine.update(registry, registry)
    assert ("broken", Reason.INTERNAL) in reasons(update)
    assert engine.live() == {}
