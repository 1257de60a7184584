"""A gateway whose engine is another process: the same answers, and no way past the engine's checks.

Each test leaves the house with digits 1 in production and a running engine.
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
from sealgate.trust.statements.engine_counts import EngineCounts
from tests.support.engine_process import separate
from tests.support.house import House, labels, question, refusal, rows


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with separate(tmp_path_factory.mktemp("pair") / "state") as (house, engine):
        house.publish("digits-1", "digits")
        house.publish("digits-2", "digits")
        house.promote("digits", 1)
        yield house, engine


@pytest.fixture
def house(pair) -> House:
    return pair[0]


@pytest.fixture
def engine(pair):
    return pair[1]


def ask(house: House, count: int = 1, seconds: float = 60.0):
    return house.inference().ModelInfer(question("digits", rows(count=count)), timeout=seconds)


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


def test_answers_come_from_the_engine_and_the_features_stay(house):
    response = ask(house, 5)
    assert [output.name for output in response.outputs] == ["logits"]
    assert len(response.raw_output_contents) == 1
    logits = np.frombuffer(response.raw_output_contents[0], "<f4").reshape(5, 10)
    assert (logits.argmax(axis=1) == labels(count=5)).all()
    metadata = house.inference().ModelMetadata(oip.ModelMetadataRequest(name="digits"))
    assert [output.name for output in metadata.outputs] == ["logits"]
    recorder = house.gateway.recorder
    opened = recorder.open(recorder.size - 1).opened
    assert (opened["screening"][1], opened["arithmetic"][1]) == ("full", "int8")
    asked = question("digits", rows())
    asked.outputs.add(name="sealgate_features")
    assert refusal(house.inference().ModelInfer, asked) is Reason.OUTPUT_UNKNOWN


def test_the_gateway_judges_as_it_would_in_one_process(house):
    noise = np.random.default_rng(3).random((1, 64)).astype(np.float32)
    live = house.gateway.engine.resolve("digits")
    answer = house.gateway.engine.infer(live, noise)
    assert answer.features.shape[0] == 1
    assert answer.verdict.value == "adversarial"
    reason = refusal(house.inference().ModelInfer, question("digits", noise))
    assert reason is Reason.ADVERSARIAL_INPUT


def test_statistics_count_what_was_asked(house):
    before = statistics(house)
    ask(house, 3)
    after = statistics(house)
    assert after.inference_count - before.inference_count == 3
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1


def statistics(house):
    request = oip.ModelStatisticsRequest(name="digits")
    return house.inference("auditor").ModelStatistics(request).model_stats[0]


def test_promotion_and_rollback_reach_the_engine(house):
    house.promote("digits", 2)
    assert ask(house).model_version == "2"
    house.governance("admin").rollback("digits", "production", 1, "test")
    house.await_version("digits", 1)
    assert ask(house).model_version == "1"


def test_no_request_is_lost_while_the_alias_moves(house):
    with Load(house.inference(), "digits", rows(count=20)) as load:
        load.wait_for("1", 60)
        house.promote("digits", 2)
        load.wait_for("2", 60)
        house.governance("admin").rollback("digits", "production", 1, "test")
        house.await_version("digits", 1)
    assert load.failures == {}


def test_a_killed_engine_is_missed_and_found_again(house, engine):
    engine.kill()
    assert refusal(ask, house) is Reason.ENGINE_UNAVAILABLE
    with pytest.raises(grpc.RpcError) as caught:
        ask(house)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(caught.value) is Reason.ENGINE_UNAVAILABLE
    assert "socket" not in caught.value.details()
    engine.start()
    assert eventually(lambda: ask(house)).model_version == "1"


def test_an_engine_that_began_anew_is_shown_everything_though_nobody_asks(house, engine):
    engine.kill()
    engine.start()
    assert states(house, 1) == {"1": ("READY", "")}


def test_a_gateway_that_starts_before_its_engine(house, engine):
    assert engine.stop() == 0
    assert engine.output.endswith("draining\n")
    house.stop()
    house.start()
    assert refusal(ask, house) is Reason.ENGINE_UNAVAILABLE
    engine.start()
    assert eventually(lambda: ask(house)).model_version == "1"


def test_counts_are_kept_in_the_registrys_log(house, engine):
    eventually(lambda: ask(house, 2))
    digest = house.gateway.engine.resolve("digits").digest
    house.stop()
    house.start()
    registry = house.gateway.store.registry
    newest = EngineCounts.decode(registry.engine_counts.all()[-1].payload)
    assert newest.engine == "engine"
    assert {found: rows for found, _, rows in newest.counts}[digest] >= 2
    registry.verify()
    eventually(lambda: ask(house))


def test_an_altered_file_is_refused_at_the_engine(house, engine):
    """The gateway reads none of the graphs, so nobody else would notice."""
    engine.stop()
    stored = [path for path in (house.state / "artifacts").rglob("*") if path.is_file()]
    genuine = {path: path.read_bytes() for path in stored}
    graphs = [path for path, data in genuine.items() if not data.startswith(b"{")]
    for path in graphs:
        path.chmod(0o600)
        path.write_bytes(genuine[path][:-1] + bytes([genuine[path][-1] ^ 1]))
    try:
        engine.start()
        assert states(house, 1) == {"": ("UNAVAILABLE", "VERSION_NOT_LIVE")}
        assert refusal(ask, house) is Reason.ENGINE_UNAVAILABLE
    finally:
        for path in graphs:
            path.write_bytes(genuine[path])
    engine.stop()
    engine.start()
    assert eventually(lambda: ask(house)).model_version == "1"


def states(house: House, least: int) -> dict[str, tuple[str, str]]:
    """What the engine says of each version, once it was shown so many pointers."""
    end = time.monotonic() + 60
    with grpc.insecure_channel(f"unix:{house.state / 'engine' / 'engine.sock'}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        while time.monotonic() < end:
            index = stub.RepositoryIndex(oip.RepositoryIndexRequest(), timeout=60).models
            if len(index) >= least:
                return {item.version: (item.state, item.reason) for item in index}
            time.sleep(0.05)
    raise TimeoutError("the gateway has not shown the engine its pointers")


def test_a_revocation_stops_the_engine(house):
    house.promote("digits", 2)
    house.governance("admin").revoke("digits", 2, "test")
    end = time.monotonic() + 60
    while refusal_of(house) is not Reason.VERSION_REVOKED:
        assert time.monotonic() < end
        time.sleep(0.02)
    # The gateway does not wait for the engine to hear of it.
    while states(house, 1) != {"2": ("UNAVAILABLE", "VERSION_REVOKED")}:
        assert time.monotonic() < end
        time.sleep(0.02)
    house.governance("admin").rollback("digits", "production", 1, "test")
    await_live(house, 1)
    assert ask(house).model_version == "1"


def test_a_revocation_does_not_wait_for_an_engine_that_hangs(house, engine):
    house.publish("digits-2", "digits")
    house.promote("digits", 3)
    engine.pause()
    try:
        house.governance("admin").revoke("digits", 3, "test")
        end = time.monotonic() + 60
        # Who asks before the gateway has heard of it waits for the engine that hangs.
        while refusal_of(house, 2.0) is not Reason.VERSION_REVOKED:
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        engine.resume()
    house.governance("admin").rollback("digits", "production", 1, "test")
    await_live(house, 1)
    assert eventually(lambda: ask(house)).model_version == "1"


def await_live(house: House, number: int) -> None:
    """Waits until the gateway follows the pointer to that version."""
    end = time.monotonic() + 60
    while True:
        live = house.gateway.engine.live().get(("digits", "production"))
        if live is not None and live.version == number:
            return
        assert time.monotonic() < end
        time.sleep(0.02)


def refusal_of(house: House, seconds: float = 60.0) -> Reason | None:
    try:
        ask(house, seconds=seconds)
    except grpc.RpcError as error:
        return reason_of(error)
    return None
