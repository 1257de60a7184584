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
from sealgate.trust.statements.covering import EngineCounts
from sealgate.v1.engine_pb2 import GetCountsRequest
from sealgate.v1.engine_pb2_grpc import EngineServiceStub
from tests.support.builders.models.version_files import clean_rows, int8_logits
from tests.support.fakes.registry import FRESH, GRACE, UncheckedVersion
from tests.support.harness.engine import INSTANCE, EngineHarness
from tests.support.harness.engine_outcomes import BETTER, FILES, MODEL, resolved
from tests.support.harness.gateway import refusal

X = clean_rows(MODEL, 2)
CANARY = ("digits", "canary")


def logits(harness: EngineHarness, version: UncheckedVersion) -> np.ndarray:
    response = harness.ask(version, X)
    return np.frombuffer(response.raw_output_contents[0], "<f4").reshape(len(X), -1)


def test_a_request_is_answered_by_the_version_that_it_resolved(harness: EngineHarness) -> None:
    first, second = harness.publish(FILES), harness.publish(BETTER)
    back = harness.registry.promote(first)
    harness.show()
    harness.registry.promote(second)
    harness.show()
    assert np.array_equal(logits(harness, first), int8_logits(MODEL, X))
    assert not np.array_equal(logits(harness, second), int8_logits(MODEL, X))
    harness.registry.roll_back(back)
    harness.show()
    assert resolved(harness.engine) == 1
    assert np.array_equal(logits(harness, first), int8_logits(MODEL, X))


def test_none_is_answered_by_another(harness: EngineHarness) -> None:
    first, second = harness.publish(FILES), harness.publish(BETTER)
    harness.registry.promote(first)
    harness.show()
    other = UncheckedVersion(first.number, second.digest)
    assert refusal(harness.ask, other, X) is Reason.VERSION_NOT_LIVE
    assert refusal(harness.ask, second, X) is Reason.VERSION_NOT_LIVE
    assert refusal(harness.ask, UncheckedVersion(1, ""), X) is Reason.VERSION_NOT_LIVE


def test_what_was_moved_away_from_ends_after_a_moment(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "LEAVING_SECONDS", 0.0)
    first, second = harness.publish(FILES), harness.publish(BETTER)
    harness.registry.promote(first)
    harness.show()
    harness.registry.promote(second)
    harness.show()
    assert refusal(harness.ask, first, X) is Reason.VERSION_NOT_LIVE


def test_what_was_moved_away_from_is_not_served_past_its_cover(harness: EngineHarness) -> None:
    first = harness.publish(FILES)
    harness.registry.promote(first)
    harness.show()
    harness.registry.promote(harness.publish(BETTER))
    harness.show()
    harness.registry.now += FRESH + GRACE
    assert refusal(harness.ask, first, X) is Reason.VERSION_NOT_LIVE


def test_a_revoked_version_stops_at_once(harness: EngineHarness) -> None:
    first, second = harness.publish(FILES), harness.publish(BETTER)
    harness.registry.promote(first)
    harness.show()
    harness.registry.promote(second)
    harness.show()
    assert logits(harness, first).shape == (2, MODEL.classes)
    harness.registry.revoke(first)
    harness.show()
    assert refusal(harness.ask, first, X) is Reason.VERSION_NOT_LIVE
    harness.registry.revoke(second)
    assert refusal(harness.show) is Reason.VERSION_REVOKED
    assert refusal(harness.ask, second, X) is Reason.VERSION_REVOKED


def test_a_revocation_comes_with_any_pointer(harness: EngineHarness) -> None:
    first, second = harness.publish(FILES), harness.publish(BETTER)
    harness.registry.promote(first)
    harness.registry.promote(second, alias="canary")
    harness.show()
    harness.show(CANARY)
    harness.registry.revoke(first)
    harness.show(CANARY)
    assert refusal(harness.ask, first, X) is Reason.VERSION_REVOKED
    assert logits(harness, second).shape == (2, MODEL.classes)


def test_a_statement_renews_every_pointer(harness: EngineHarness) -> None:
    first, second = harness.publish(FILES), harness.publish(BETTER)
    harness.registry.promote(first)
    harness.registry.promote(second, alias="canary")
    harness.show()
    harness.show(CANARY)
    harness.registry.now += FRESH + timedelta(minutes=1)
    harness.registry.refresh()
    harness.show(CANARY)
    harness.registry.now += GRACE
    assert logits(harness, first).shape == logits(harness, second).shape
    harness.registry.now += FRESH
    assert refusal(harness.ask, first, X) is Reason.POINTER_STALE


def test_unloading_is_not_for_a_gateway_to_decide(harness: EngineHarness) -> None:
    made = harness.publish(FILES)
    harness.registry.promote(made)
    harness.show()
    unload = oip.RepositoryModelUnloadRequest(model_name="digits")
    assert refusal(harness.stub.RepositoryModelUnload, unload) is Reason.PROMOTION_ONLY
    assert logits(harness, made).shape == (2, MODEL.classes)


def test_what_was_run_is_counted_and_signed(harness: EngineHarness) -> None:
    made = harness.publish(FILES)
    harness.registry.promote(made)
    harness.show()
    stub = EngineServiceStub(harness.channel)

    def counts() -> EngineCounts:
        envelope = Envelope.decode(stub.GetCounts(GetCountsRequest()).envelope)
        keys = {harness.key.public.keyid: harness.key.public}
        dsse.verify(envelope, EngineCounts.PAYLOAD_TYPE, keys)
        return EngineCounts.decode(envelope.payload)

    before = counts()
    assert (before.engine, before.instance, before.counts) == ("engine", INSTANCE, ())
    harness.ask(made, X)
    harness.ask(made, X[:1])
    assert refusal(harness.ask, made, X[:, :1]) is Reason.TENSOR_SHAPE
    after = counts()
    assert after.counts == ((made.digest, 2, 3),)
    assert after.follows(before)
    assert not before.follows(after)


def test_a_load_waits_for_the_one_before_but_not_for_ever(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = harness.publish(FILES)
    harness.registry.promote(made)
    monkeypatch.setattr(harness.host, "patience", 0.05)
    began, go_on = threading.Event(), threading.Event()
    read = harness.store.read

    def slowly(digest: str, size: int) -> bytes:
        began.set()
        assert go_on.wait(60)
        return read(digest, size)

    monkeypatch.setattr(harness.store, "read", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(harness.show)
        assert began.wait(60)
        assert refusal(harness.show) is Reason.QUEUE_FULL
        go_on.set()
        first.result(60)
    assert resolved(harness.engine) == 1


def test_a_move_that_is_refused_leaves_what_was_live(harness: EngineHarness) -> None:
    first, second = harness.publish(FILES), harness.publish(BETTER)
    harness.registry.promote(first)
    harness.show()
    harness.path(BETTER["detector.json"]).unlink()
    harness.registry.promote(second)
    assert refusal(harness.show) is Reason.VERSION_ALTERED
    assert logits(harness, first).shape == (2, MODEL.classes)
    assert refusal(harness.ask, second, X) is Reason.VERSION_NOT_LIVE
