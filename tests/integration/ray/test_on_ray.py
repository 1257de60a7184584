"""An engine on Ray Serve, behind a gateway that does not know of it: `make test-extra NAME=ray`.

Ray has an environment of its own (docs/adr/0008); where it is absent, these are skipped. Each test
but the last leaves digits 1 in production, and a running engine.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from demo.questions import Load
from sealgate.reasons import Reason
from sealgate.setup.configuration import EnginePlace
from sealgate.trust.statements.covering import EngineCounts
from tests.support.harness.gateway import GatewayHarness, labels, question, refusal, rows
from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.harness.processes.ray_engine import RayEngine
from tests.support.harness.rollouts import await_true

LIMIT = 120
pytestmark = pytest.mark.timeout(300)
# As the kernel writes them: 127.0.0.1 and ::1, the latter also as what maps the former.
LOOPBACK = {
    "0100007F",
    "00000000000000000000000001000000",
    "0000000000000000FFFF00000100007F",
}
SETTINGS = "\n[ray]\nmost = 2\nbatches = 1.0\ngrow_after = 0.5\nshrink_after = 2.0\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayHarness, RayEngine]]:
    state = tmp_path_factory.mktemp("ray") / "state"
    harness = GatewayHarness(state, engine=EnginePlace())
    with (state / "engine.toml").open("a") as settings:
        settings.write(SETTINGS)
    engine = RayEngine(state)
    engine.start()
    try:
        harness.start()
        harness.publish("digits-standard", "digits")
        harness.publish("digits-hardened", "digits")
        harness.promote("digits", 1)
        yield harness, engine
    finally:
        harness.stop()
        if engine.runs:
            engine.stop()


@pytest.fixture
def harness(pair: tuple[GatewayHarness, RayEngine]) -> GatewayHarness:
    return pair[0]


@pytest.fixture
def engine(pair: tuple[GatewayHarness, RayEngine]) -> RayEngine:
    return pair[1]


def logits(harness: GatewayHarness, x: np.ndarray) -> np.ndarray:
    response = harness.inference().ModelInfer(question("digits", x), timeout=60)
    return np.frombuffer(response.raw_output_contents[0], "<f4").reshape(len(x), -1)


def await_answer(harness: GatewayHarness) -> None:
    """Waits until the gateway has found the engine that was started."""
    asked = question("digits", rows())

    def answers() -> bool:
        try:
            harness.inference().ModelInfer(asked, timeout=60)
        except grpc.RpcError:
            return False
        return True

    await_true(answers, seconds=60)


def recorded(harness: GatewayHarness) -> int:
    assert harness.gateway is not None
    return int(harness.gateway.recorder.size)


def test_answers_are_those_of_an_engine_alone(harness: GatewayHarness, engine: RayEngine) -> None:
    """Of one on the same installation: another's versions have another watermark."""
    asked = [rows(count=count) for count in (1, 5, 40)]
    on_ray = [logits(harness, x).tobytes() for x in asked]
    noise = np.random.default_rng(3).random((1, 64)).astype(np.float32)
    reason = refusal(harness.inference().ModelInfer, question("digits", noise), timeout=60)
    assert reason is Reason.ADVERSARIAL_INPUT
    engine.stop()
    alone = EngineProcess(engine.state)
    alone.start()
    try:
        await_answer(harness)
        assert [logits(harness, x).tobytes() for x in asked] == on_ray
    finally:
        alone.stop()
        engine.start()
        await_answer(harness)


def test_nobody_beyond_this_machine_and_nobody_without_the_token(engine: RayEngine) -> None:
    found = engine.listening()
    assert {address for address, _ in found} <= LOOPBACK
    assert found
    token = (engine.folder() / "token").read_text()
    # It would name the next job that is to run.
    assert asked_of_ray(engine, f"Bearer {token}") is grpc.StatusCode.OK
    for stranger in ("", "Bearer " + "0" * len(token)):
        assert asked_of_ray(engine, stranger) is grpc.StatusCode.UNAUTHENTICATED


def asked_of_ray(engine: RayEngine, authorization: str) -> grpc.StatusCode:
    with grpc.insecure_channel(engine.head()) as channel:
        method = channel.unary_unary("/ray.rpc.JobInfoGcsService/GetNextJobID")
        metadata = [("authorization", authorization)] if authorization else []
        future = method.future(b"", timeout=60, metadata=metadata)
        return future.code()


def test_a_second_replica_comes_with_the_load_and_goes_with_it(
    harness: GatewayHarness, engine: RayEngine
) -> None:
    """While there are two, one is killed: no answer is wrong, late or missing from the log."""
    await_true(lambda: len(engine.replicas()) == 1, seconds=LIMIT)
    before, asked, x = recorded(harness), 0, rows(count=20)
    expected = labels(count=20)
    with ExitStack() as end:
        loads = [end.enter_context(Load(harness.inference(), "digits", x)) for _ in "abcd"]
        await_true(lambda: len(engine.replicas()) == 2, seconds=LIMIT)
        engine.kill_replica()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert logits(harness, x).argmax(axis=1).tolist() == expected.tolist()
            asked += 1
    assert [load.failures for load in loads] == [{}] * 4
    assert recorded(harness) - before >= sum(load.versions["1"] for load in loads) + asked
    await_true(lambda: len(engine.replicas()) == 1, seconds=LIMIT)


def test_the_only_replica_is_killed_under_load(harness: GatewayHarness, engine: RayEngine) -> None:
    """Requests wait for the next as long as they have time; no answer is wrong."""
    x, expected = rows(count=20), labels(count=20)
    before = recorded(harness)
    with Load(harness.inference(), "digits", x) as load:
        await_true(lambda: load.versions["1"] > 50, seconds=60)
        (first,) = engine.replicas()[:1]
        engine.kill_replica()
        await_true(lambda: engine.replicas() not in ([], [first]), seconds=LIMIT)
        await_answer(harness)
        assert logits(harness, x).argmax(axis=1).tolist() == expected.tolist()
    # A client whose own deadline passes has no reason of ours.
    assert all("DEADLINE" in each or each == "ENGINE_UNAVAILABLE" for each in load.failures)
    assert recorded(harness) - before > load.versions["1"]


def test_moves_and_revocation_reach_every_replica(
    harness: GatewayHarness, engine: RayEngine
) -> None:
    with Load(harness.inference(), "digits", rows(count=20)) as load:
        harness.promote("digits", 2)
        load.wait_for("2", 30)
        harness.governance("admin").rollback("digits", "production", 1, "test")
        harness.await_version("digits", 1)
    assert load.failures == {}


def test_what_was_run_is_counted_and_signed(harness: GatewayHarness) -> None:
    assert harness.gateway is not None
    rooms = harness.gateway.backends.shown
    before = counted(rooms)
    for _ in range(5):
        logits(harness, rows(count=3))
    after = counted(rooms)
    assert (after[0] - before[0], after[1] - before[1]) == (5, 15)
    assert rooms.counts()[0].signatures


def counted(rooms: Any) -> tuple[int, int]:
    (envelope,) = rooms.counts()
    found = EngineCounts.decode(envelope.payload).counts
    return sum(item[1] for item in found), sum(item[2] for item in found)


def test_it_leaves_nothing_behind(engine: RayEngine) -> None:
    tree = engine.tree()
    folder = engine.folder()
    assert folder.stat().st_mode & 0o077 == 0
    assert engine.stop() == 0
    await_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in tree), seconds=20)
    assert not folder.exists()
