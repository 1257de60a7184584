"""Moves, rollbacks and revocations reach an engine of its own process, and none is mixed up."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest

from inference.server import host
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements.engine_counts import EngineCounts
from sealgate.v1.engine_pb2 import GetCountsRequest
from sealgate.v1.engine_pb2_grpc import EngineServiceStub
from tests.support.builders.models.version_files import clean_rows, int8_logits
from tests.support.fakes.registry import FRESH, GRACE, UncheckedVersion
from tests.support.harness.engine import INSTANCE, EngineHarness
from tests.support.harness.engine_outcomes import BETTER, FILES, MODEL, resolved
from tests.support.harness.gateway import refusal

X = clean_rows(MODEL, 2)
CANARY = ("digits", "canary")


def logits(room: EngineHarness, version: UncheckedVersion) -> np.ndarray:
    response = room.ask(version, X)
    return np.frombuffer(response.raw_output_contents[0], "<f4").reshape(len(X), -1)


def test_a_request_is_answered_by_the_version_that_it_resolved(room: EngineHarness) -> None:
    first, second = room.publish(FILES), room.publish(BETTER)
    back = room.registry.promote(first)
    room.show()
    room.registry.promote(second)
    room.show()
    assert np.array_equal(logits(room, first), int8_logits(MODEL, X))
    assert not np.array_equal(logits(room, second), int8_logits(MODEL, X))
    room.registry.roll_back(back)
    room.show()
    assert resolved(room.engine) == 1
    assert np.array_equal(logits(room, first), int8_logits(MODEL, X))


def test_none_is_answered_by_another(room: EngineHarness) -> None:
    first, second = room.publish(FILES), room.publish(BETTER)
    room.registry.promote(first)
    room.show()
    other = UncheckedVersion(first.number, second.digest)
    assert refusal(room.ask, other, X) is Reason.VERSION_NOT_LIVE
    assert refusal(room.ask, second, X) is Reason.VERSION_NOT_LIVE
    assert refusal(room.ask, UncheckedVersion(1, ""), X) is Reason.VERSION_NOT_LIVE


def test_what_was_moved_away_from_ends_after_a_moment(
    room: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_LEAVING_SECONDS", 0.0)
    first, second = room.publish(FILES), room.publish(BETTER)
    room.registry.promote(first)
    room.show()
    room.registry.promote(second)
    room.show()
    assert refusal(room.ask, first, X) is Reason.VERSION_NOT_LIVE


def test_what_was_moved_away_from_is_not_served_past_its_cover(room: EngineHarness) -> None:
    first = room.publish(FILES)
    room.registry.promote(first)
    room.show()
    room.registry.promote(room.publish(BETTER))
    room.show()
    room.registry.now += FRESH + GRACE
    assert refusal(room.ask, first, X) is Reason.VERSION_NOT_LIVE


def test_a_revoked_version_stops_at_once(room: EngineHarness) -> None:
    first, second = room.publish(FILES), room.publish(BETTER)
    room.registry.promote(first)
    room.show()
    room.registry.promote(second)
    room.show()
    assert logits(room, first).shape == (2, MODEL.classes)
    room.registry.revoke(first)
    room.show()
    assert refusal(room.ask, first, X) is Reason.VERSION_NOT_LIVE
    room.registry.revoke(second)
    assert refusal(room.show) is Reason.VERSION_REVOKED
    assert refusal(room.ask, second, X) is Reason.VERSION_REVOKED


def test_a_revocation_comes_with_any_pointer(room: EngineHarness) -> None:
    first, second = room.publish(FILES), room.publish(BETTER)
    room.registry.promote(first)
    room.registry.promote(second, alias="canary")
    room.show()
    room.show(CANARY)
    room.registry.revoke(first)
    room.show(CANARY)
    assert refusal(room.ask, first, X) is Reason.VERSION_REVOKED
    assert logits(room, second).shape == (2, MODEL.classes)


def test_a_statement_renews_every_pointer(room: EngineHarness) -> None:
    first, second = room.publish(FILES), room.publish(BETTER)
    room.registry.promote(first)
    room.registry.promote(second, alias="canary")
    room.show()
    room.show(CANARY)
    room.registry.now += FRESH + timedelta(minutes=1)
    room.registry.refresh()
    room.show(CANARY)
    room.registry.now += GRACE
    assert logits(room, first).shape == logits(room, second).shape
    room.registry.now += FRESH
    assert refusal(room.ask, first, X) is Reason.POINTER_STALE


def test_unloading_is_not_for_a_gateway_to_decide(room: EngineHarness) -> None:
    made = room.publish(FILES)
    room.registry.promote(made)
    room.show()
    unload = oip.RepositoryModelUnloadRequest(model_name="digits")
    assert refusal(room.stub.RepositoryModelUnload, unload) is Reason.PROMOTION_ONLY
    assert logits(room, made).shape == (2, MODEL.classes)


def test_what_was_run_is_counted_and_signed(room: EngineHarness) -> None:
    made = room.publish(FILES)
    room.registry.promote(made)
    room.show()
    stub = EngineServiceStub(room.channel)

    def counts() -> EngineCounts:
        envelope = Envelope.decode(stub.GetCounts(GetCountsRequest()).envelope)
        keys = {room.key.public.keyid: room.key.public}
        dsse.verify(envelope, EngineCounts.PAYLOAD_TYPE, keys)
        return EngineCounts.decode(envelope.payload)

    before = counts()
    assert (before.engine, before.instance, before.counts) == ("engine", INSTANCE, ())
    room.ask(made, X)
    room.ask(made, X[:1])
    assert refusal(room.ask, made, X[:, :1]) is Reason.TENSOR_SHAPE
    after = counts()
    assert after.counts == ((made.digest, 2, 3),)
    assert after.follows(before)
    assert not before.follows(after)


def test_a_load_waits_for_the_one_before_but_not_for_ever(
    room: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = room.publish(FILES)
    room.registry.promote(made)
    monkeypatch.setattr(room.host, "patience", 0.05)
    began, go_on = threading.Event(), threading.Event()
    read = room.store.read

    def slowly(digest: str, size: int) -> bytes:
        began.set()
        assert go_on.wait(60)
        return read(digest, size)

    monkeypatch.setattr(room.store, "read", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(room.show)
        assert began.wait(60)
        assert refusal(room.show) is Reason.QUEUE_FULL
        go_on.set()
        first.result(60)
    assert resolved(room.engine) == 1


def test_a_move_that_is_refused_leaves_what_was_live(room: EngineHarness) -> None:
    first, second = room.publish(FILES), room.publish(BETTER)
    room.registry.promote(first)
    room.show()
    room.path(BETTER["detector.json"]).unlink()
    room.registry.promote(second)
    assert refusal(room.show) is Reason.VERSION_ALTERED
    assert logits(room, first).shape == (2, MODEL.classes)
    assert refusal(room.ask, second, X) is Reason.VERSION_NOT_LIVE
