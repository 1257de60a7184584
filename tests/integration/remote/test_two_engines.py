"""Two engines that run graphs in different ways: both are used, and either may go.

The second has other settings, and another provider where that is installed. Each test
leaves both running, with digits 1 in production.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.questions import Load
from inference.backends.remote.engine_pool import EnginePool
from inference.backends.remote.remote_engine import RemoteEngine
from inference.engine.result import InferenceResult
from inference.model.inputs import tensors_of
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import write_inputs
from sealgate.trust.statements.covering import EngineCounts
from tests.support.harness.engine_pair import two_engines
from tests.support.harness.gateway import GatewayHarness, labels, rows
from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.oracles import programs

pytestmark = pytest.mark.slow

# How far the second engine's golden answers may be off, by its settings.
_TOLERANCE = 0.1
_KINDS = {
    "settings": "deterministic = true",
    "openvino": f'provider = "openvino"\ntolerance = {_TOLERANCE}',
}
Trio = tuple[GatewayHarness, EngineProcess, EngineProcess]


@pytest.fixture(scope="module", params=list(_KINDS))
def trio(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trio]:
    state = tmp_path_factory.mktemp("trio") / "state"
    openvino = request.param == "openvino"
    python = [programs.own_python_with("openvino", "onnxruntime")] if openvino else []
    with two_engines(state, _KINDS[request.param], *python) as (harness, *engines):
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        yield harness, engines[0], engines[1]


@pytest.fixture
def harness(trio: Trio) -> GatewayHarness:
    return trio[0]


def pool_of(harness: GatewayHarness) -> EnginePool:
    return harness.gateway.backends.shown


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def both_are_there(harness: GatewayHarness) -> None:
    eventually(lambda: all_there(harness))


def all_there(harness: GatewayHarness) -> bool:
    digest = harness.gateway.engine.resolve("digits").digest
    remotes = pool_of(harness).engines.values()
    return all(not remote.behind and digest in remote.measured for remote in remotes)


def asked(
    harness: GatewayHarness, count: int, size: int, threads: int = 24
) -> list[InferenceResult]:
    """Return the engines' answers to so many requests of `size` rows, many at a time."""
    live, x = harness.gateway.engine.resolve("digits"), rows(count=size)
    answers: list[InferenceResult] = []

    def ask() -> None:
        for _ in range(count // threads):
            answers.append(harness.gateway.engine.infer(live, x))

    workers = [threading.Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return answers


def test_each_has_measured_the_version_and_is_named(harness: GatewayHarness) -> None:
    both_are_there(harness)
    live = harness.gateway.engine.resolve("digits")
    for remote in pool_of(harness).engines.values():
        costs = remote.measured[live.digest].costs
        assert [size for size, _ in costs.batches] == [1, 2, 4, 8, 16, 32, 64]
        assert costs.seconds(64) >= costs.seconds(1) > 0
    metadata = harness.inference().ModelMetadata(oip.ModelMetadataRequest(name="digits"))
    told = metadata.properties["engine"]
    assert told.startswith("separate, digest checked there; up to 2 asked: engine on cpu, second")


def test_both_are_used_under_load_and_nothing_is_lost(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_are_there(harness)
    # On a busy machine one of them may have been measured so slow that it would get nothing.
    first = next(iter(pool_of(harness).engines.values())).measured
    monkeypatch.setattr(RemoteEngine, "measured", first)
    answers = asked(harness, 480, 64)
    assert len(answers) == 480
    shares = Counter(answer.engine.partition("; ")[2].partition(" ")[0] for answer in answers)
    assert min(shares["engine"], shares["second"]) >= 480 * 0.05, shares
    for answer in answers:
        assert (answer.outputs["logits"].argmax(axis=1) == labels(count=64)).all()
    assert all(pool_of(harness).placement.waiting(name) == 0 for name in shares)


def test_answers_are_as_near_to_one_another_as_the_settings_say(harness: GatewayHarness) -> None:
    both_are_there(harness)
    live, x = harness.gateway.engine.resolve("digits"), rows(count=20)
    request = oip.ModelInferRequest(model_name="digits", model_version="1")
    request.parameters["digest"].string_param = live.digest
    write_inputs(request, tensors_of(live.config, x))
    found = [
        np.frombuffer(remote.infer(request, None).raw_output_contents[0], "<f4")
        for remote in pool_of(harness).engines.values()
    ]
    assert np.allclose(found[0], found[1], rtol=_TOLERANCE, atol=_TOLERANCE)


def test_either_may_be_killed_under_load(trio: Trio) -> None:
    harness, *engines = trio
    for killed in engines:
        both_are_there(harness)
        with Load(harness.inference(), "digits", rows(count=20)) as load:
            eventually(lambda load=load: load.versions["1"] > 50)
            killed.kill()
            before = load.versions["1"]
            eventually(lambda load=load, before=before: load.versions["1"] > before + 100)
            killed.start()
            both_are_there(harness)
            before = load.versions["1"]
            eventually(lambda load=load, before=before: load.versions["1"] > before + 50)
        assert load.failures == {}


def test_an_auditor_misses_nothing_where_a_second_engine_was_asked(
    tmp_path: Path,
) -> None:
    with two_engines(tmp_path / "state", "deterministic = true") as (harness, *engines):
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        both_are_there(harness)
        with Load(harness.inference(), "digits", rows(count=20)) as load:
            eventually(lambda: load.versions["1"] > 200)
            assert counted(harness) > 0
            # Only one of them may have been asked so far: that which is done sooner.
            asked = [bool(counts_of(remote).counts) for remote in pool_of(harness).engines.values()]
            engines[asked.index(True)].kill()
            before = load.versions["1"]
            eventually(lambda: load.versions["1"] > before + 200)
        assert load.failures == {}
        eventually(lambda: counted(harness) == 2)
        end = time.monotonic() + 60
        while not (versions := audited(harness)):
            assert time.monotonic() < end
            time.sleep(0.5)
        assert versions[0]["missing"] == 0
        assert versions[0]["recorded"] >= versions[0]["counted"] > 0


def counts_of(remote: RemoteEngine) -> EngineCounts:
    return EngineCounts.decode(remote.counts().payload)


def counted(harness: GatewayHarness) -> int:
    """How many engines have signed counts."""
    harness.gateway.registry_sync.count()
    stored = harness.gateway.store.registry.engine_counts.all()
    return len({EngineCounts.decode(envelope.payload).instance for envelope in stored})


def audited(harness: GatewayHarness) -> list[dict[str, Any]]:
    """Return the auditor's finding on each version; none until a statement is old enough."""
    told = harness.command("audit", "completeness", "--slack", "1", "--json")
    return json.loads(told.stdout)["versions"]
