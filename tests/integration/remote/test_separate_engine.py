"""A gateway whose engine is another process: the same answers, and no way past the engine's checks.

Each test leaves the gateway with digits 1 in production and a running engine.
"""

import time

import grpc
import numpy as np
import pytest

from demo.questions import Load
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements.covering import EngineCounts
from sealgate.v1 import engine_pb2
from sealgate.v1.engine_pb2_grpc import EngineServiceStub
from tests.support.fakes.whole_calls import FakeWholeCall
from tests.support.harness.gateway import GatewayHarness, labels, question, refusal, rows
from tests.support.harness.processes.engine_process import separate


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with separate(tmp_path_factory.mktemp("pair") / "state") as (harness, engine):
        harness.publish("digits-standard", "digits")
        harness.publish("digits-hardened", "digits")
        harness.promote("digits", 1)
        yield harness, engine


@pytest.fixture
def harness(pair) -> GatewayHarness:
    return pair[0]


@pytest.fixture
def engine(pair):
    return pair[1]


def ask(harness: GatewayHarness, count: int = 1, seconds: float = 60.0):
    return harness.inference().ModelInfer(question("digits", rows(count=count)), timeout=seconds)


def eventually(call, seconds: float = 60.0):
    """The first answer that is no UNAVAILABLE."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
            if not unavailable or time.monotonic() > end:
                raise
            time.sleep(0.05)


def test_answers_come_from_the_engine_and_the_features_stay(harness):
    response = ask(harness, 5)
    assert [output.name for output in response.outputs] == ["logits"]
    assert len(response.raw_output_contents) == 1
    logits = np.frombuffer(response.raw_output_contents[0], "<f4").reshape(5, 10)
    assert (logits.argmax(axis=1) == labels(count=5)).all()
    metadata = harness.inference().ModelMetadata(oip.ModelMetadataRequest(name="digits"))
    assert [output.name for output in metadata.outputs] == ["logits"]
    recorder = harness.gateway.recorder
    opened = recorder.open(recorder.size - 1).opened
    assert (opened["screening"][1], opened["arithmetic"][1]) == ("full", "int8")
    asked = question("digits", rows())
    asked.outputs.add(name="sealgate_features")
    assert refusal(harness.inference().ModelInfer, asked) is Reason.OUTPUT_UNKNOWN


def test_the_gateway_follows_the_engine_s_verdict(harness):
    live = harness.gateway.engine.resolve("digits")
    draw = np.random.default_rng(3)
    for noise in draw.random((8, 1, 64)).astype(np.float32):
        answer = harness.gateway.engine.infer(live, noise)
        assert answer.features.shape[0] == 1
        # The verdict may be any: the gateway's action must follow from the same one.
        asked = question("digits", noise)
        if answer.verdict.value == "adversarial":
            assert refusal(harness.inference().ModelInfer, asked) is Reason.ADVERSARIAL_INPUT
        else:
            assert harness.inference().ModelInfer(asked).outputs


def test_statistics_count_what_was_asked(harness):
    before = statistics(harness)
    ask(harness, 3)
    after = statistics(harness)
    assert after.inference_count - before.inference_count == 3
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1


def statistics(harness):
    request = oip.ModelStatisticsRequest(name="digits")
    return harness.inference("auditor").ModelStatistics(request).model_stats[0]


def test_promotion_and_rollback_reach_the_engine(harness):
    harness.promote("digits", 2)
    assert ask(harness).model_version == "2"
    harness.governance("admin").rollback("digits", "production", 1, "test")
    harness.await_version("digits", 1)
    assert ask(harness).model_version == "1"


def test_no_request_is_lost_while_the_alias_moves(harness):
    with Load(harness.inference(), "digits", rows(count=20)) as load:
        load.wait_for("1", 60)
        harness.promote("digits", 2)
        load.wait_for("2", 60)
        harness.governance("admin").rollback("digits", "production", 1, "test")
        harness.await_version("digits", 1)
    assert load.failures == {}


def test_a_killed_engine_is_missed_and_found_again(harness, engine):
    engine.kill()
    assert refusal(ask, harness) is Reason.ENGINE_UNAVAILABLE
    with pytest.raises(grpc.RpcError) as caught:
        ask(harness)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(caught.value) is Reason.ENGINE_UNAVAILABLE
    assert "socket" not in caught.value.details()
    engine.start()
    assert eventually(lambda: ask(harness)).model_version == "1"


@pytest.mark.slow
def test_an_engine_that_began_anew_is_shown_everything_though_nobody_asks(harness, engine):
    engine.kill()
    engine.start()
    assert states(harness, 1) == {"1": ("READY", "")}


def test_a_gateway_that_starts_before_its_engine(harness, engine):
    assert engine.stop() == 0
    assert engine.output.endswith("draining\n")
    harness.stop()
    harness.start()
    assert refusal(ask, harness) is Reason.ENGINE_UNAVAILABLE
    engine.start()
    assert eventually(lambda: ask(harness)).model_version == "1"


def test_counts_are_kept_in_the_registrys_log(harness, engine):
    eventually(lambda: ask(harness, 2))
    digest = harness.gateway.engine.resolve("digits").digest
    harness.stop()
    harness.start()
    registry = harness.gateway.store.registry
    newest = EngineCounts.decode(registry.engine_counts.all()[-1].payload)
    assert newest.engine == "engine"
    assert {found: rows for found, _, rows in newest.counts}[digest] >= 2
    registry.verify()
    eventually(lambda: ask(harness))


@pytest.mark.slow
def test_an_altered_file_is_refused_at_the_engine(harness, engine):
    """The gateway reads none of the graphs, so nobody else would notice."""
    engine.stop()
    stored = [path for path in (harness.state / "artifacts").rglob("*") if path.is_file()]
    genuine = {path: path.read_bytes() for path in stored}
    graphs = [path for path, data in genuine.items() if not data.startswith(b"{")]
    for path in graphs:
        path.chmod(0o600)
        path.write_bytes(genuine[path][:-1] + bytes([genuine[path][-1] ^ 1]))
    try:
        engine.start()
        assert states(harness, 1) == {"": ("UNAVAILABLE", "VERSION_NOT_LIVE")}
        assert refusal(ask, harness) is Reason.ENGINE_UNAVAILABLE
    finally:
        for path in graphs:
            path.write_bytes(genuine[path])
    engine.stop()
    engine.start()
    assert eventually(lambda: ask(harness)).model_version == "1"


def states(harness: GatewayHarness, least: int) -> dict[str, tuple[str, str]]:
    """Return each version's state in the engine, once it has so many pointers."""
    end = time.monotonic() + 60
    with grpc.insecure_channel(f"unix:{harness.state / 'engine' / 'engine.sock'}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        while time.monotonic() < end:
            index = stub.RepositoryIndex(oip.RepositoryIndexRequest(), timeout=60).models
            if len(index) >= least:
                return {item.version: (item.state, item.reason) for item in index}
            time.sleep(0.05)
    raise TimeoutError("the gateway has not shown the engine its pointers")


def burst(harness: GatewayHarness, count: int) -> list[FakeWholeCall]:
    request = question("digits", rows())
    return [FakeWholeCall.by(harness.profile("client"), request) for _ in range(count)]


def counted(harness: GatewayHarness) -> tuple[int, int]:
    """How many requests and rows the engine has run."""
    with grpc.insecure_channel(f"unix:{harness.state / 'engine' / 'engine.sock'}") as channel:
        said = EngineServiceStub(channel).GetCounts(engine_pb2.GetCountsRequest(), timeout=60)
    counts = EngineCounts.decode(Envelope.decode(said.envelope).payload).counts
    return sum(each[1] for each in counts), sum(each[2] for each in counts)


def test_a_burst_is_answered_and_recorded_together(harness, engine):
    recorder, before = harness.gateway.recorder, counted(harness)
    size, commits = recorder.size, recorder.commits.count
    calls = burst(harness, 40)
    harness.gateway.bursts(calls)
    assert [call.reason for call in calls] == [None] * 40
    assert {call.answered.model_version for call in calls} == {"1"}
    assert counted(harness) == (before[0] + 40, before[1] + 40)
    assert recorder.size == size + 40
    assert recorder.commits.count < commits + 20


def test_a_burst_to_an_engine_that_is_away_is_refused_and_recorded(harness, engine):
    size = harness.gateway.recorder.size
    engine.kill()
    calls = burst(harness, 5)
    harness.gateway.bursts(calls)
    assert [call.reason for call in calls] == [Reason.ENGINE_UNAVAILABLE] * 5
    assert harness.gateway.recorder.size == size + 5
    engine.start()
    assert eventually(lambda: ask(harness)).model_version == "1"


def test_who_has_little_time_waits_for_no_other_of_a_burst(harness, engine):
    late, *others = calls = burst(harness, 4)
    late.left = 0.3
    engine.pause()
    try:
        harness.gateway.bursts(calls)
        assert late.reason is Reason.DEADLINE_TOO_SHORT
        assert not any(call.ended.is_set() for call in others)
    finally:
        engine.resume()
    assert [call.reason for call in others] == [None] * 3


def test_a_revocation_stops_the_engine(harness):
    harness.promote("digits", 2)
    harness.governance("admin").revoke("digits", 2, "test")
    end = time.monotonic() + 60
    while refusal_of(harness) is not Reason.VERSION_REVOKED:
        assert time.monotonic() < end
        time.sleep(0.02)
    # The gateway does not wait for the engine to hear of it.
    while states(harness, 1) != {"2": ("UNAVAILABLE", "VERSION_REVOKED")}:
        assert time.monotonic() < end
        time.sleep(0.02)
    harness.governance("admin").rollback("digits", "production", 1, "test")
    await_live(harness, 1)
    assert ask(harness).model_version == "1"


@pytest.mark.slow
def test_a_revocation_does_not_wait_for_an_engine_that_hangs(harness, engine):
    harness.publish("digits-hardened", "digits")
    harness.promote("digits", 3)
    engine.pause()
    try:
        harness.governance("admin").revoke("digits", 3, "test")
        end = time.monotonic() + 60
        # A call before the gateway knows of the revocation waits for the engine that hangs.
        while refusal_of(harness, 2.0) is not Reason.VERSION_REVOKED:
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        engine.resume()
    harness.governance("admin").rollback("digits", "production", 1, "test")
    await_live(harness, 1)
    assert eventually(lambda: ask(harness)).model_version == "1"


def await_live(harness: GatewayHarness, number: int) -> None:
    """Waits until the gateway follows the pointer to that version."""
    end = time.monotonic() + 60
    while True:
        live = harness.gateway.engine.live().get(("digits", "production"))
        if live is not None and live.version == number:
            return
        assert time.monotonic() < end
        time.sleep(0.02)


def refusal_of(harness: GatewayHarness, seconds: float = 60.0) -> Reason | None:
    try:
        ask(harness, seconds=seconds)
    except grpc.RpcError as error:
        return reason_of(error)
    return None
