"""Answers that end early, by either protocol: their callers go, or something goes wrong."""

import json
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

import grpc
import pytest

from gateway.auth.interceptor import AuthInterceptor
from gateway.recording.recorder import AuditRecorder
from inference.llm.request import Sampling
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.chats import MESSAGES, begun, events
from tests.support.builders.generated import asked, ids_of, is_last, stream
from tests.support.fakes.blocking_worker import until
from tests.support.harness.clients.http_client import HttpClient, client_of
from tests.support.harness.generator import OUTPUT_TOKENS, GeneratorHarness


def test_a_stream_that_is_cut_is_recorded_and_frees_the_cache(harness: GeneratorHarness) -> None:
    batches, before = harness.batches(), harness.gateway.recorder.size
    call = harness.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    with harness.paused_after(lambda: next(call)) as first:
        call.cancel()
        until(lambda: harness.gateway.recorder.size == before + 2)
    opened, cut = harness.entries(before)
    assert (opened["outcome"], cut["outcome"]) == ("opened", "cut")
    assert (opened["input"], opened["time"]) == (cut["input"], cut["time"])
    assert cut["output"].startswith("sha256:")
    assert len(ids_of(first.infer_response)) == 1
    until(lambda: batches.room.free == batches.room.pages)
    cache = batches.manager.batch_processor.cache
    until(lambda: cache.compute_free_capacity() == 1.0)


def test_a_caller_who_goes_is_noticed_and_recorded(harness: GeneratorHarness) -> None:
    batches, before, client = harness.batches(), harness.gateway.recorder.size, client_of(harness)

    def begin() -> HTTPResponse:
        response = begun(client, max_tokens=OUTPUT_TOKENS)
        assert response.read(6) == b"data: "
        return response

    with harness.paused_after(begin) as response:
        response.close()
        client.close()
        until(lambda: harness.gateway.recorder.size == before + 2)
    assert [entry["outcome"] for entry in harness.entries(before)] == ["opened", "cut"]
    until(lambda: batches.room.free == batches.room.pages)


def test_a_caller_who_goes_while_he_waits_leaves_the_queue(harness: GeneratorHarness) -> None:
    batches, before, client = harness.batches(), harness.gateway.recorder.size, client_of(harness)
    with batches.answer([1] * 4, Sampling(batches.room.pages * 16 - 16), time.monotonic() + 60):
        document = json.dumps({"model": "tiny", "messages": MESSAGES})
        client.connection.request("POST", "/v1/chat/completions", document, client.headers)
        until(lambda: batches.room.waiting == 1)
        client.close()
        until(lambda: batches.room.waiting == 0)
    until(lambda: harness.gateway.recorder.size == before + 1)


def test_what_goes_wrong_in_the_middle_is_the_last_event(
    harness: GeneratorHarness, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit, count = AuthInterceptor.admit, iter(range(100))

    def three_times(self: AuthInterceptor, *given: Any) -> None:
        if next(count) == 3:
            raise SealgateError(Reason.TOKEN_EXPIRED)
        admit(self, *given)

    before = harness.gateway.recorder.size
    monkeypatch.setattr(AuthInterceptor, "admit", three_times)
    found = events(begun(client, max_tokens=OUTPUT_TOKENS))
    assert [("error" in each) for each in found] == [False, False, True]
    assert found[-1]["error"]["code"] == Reason.TOKEN_EXPIRED.name
    outcomes = [entry["outcome"] for entry in harness.entries(before)]
    assert outcomes == ["opened", "cut", Reason.TOKEN_EXPIRED.name]
    monkeypatch.undo()
    # And the connection goes on.
    assert client.get("/v1/models").status == 200


def test_what_cannot_be_recorded_does_not_leave(
    harness: GeneratorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise SealgateError(Reason.RECORD_FAILED)

    with monkeypatch.context() as patched:
        patched.setattr(AuditRecorder, "record", full)
        (only,) = stream(harness, asked(max_tokens=4))
    assert only.error_message.startswith(Reason.RECORD_FAILED.name)
    assert not only.infer_response.outputs


def test_an_end_that_cannot_be_recorded_is_told(
    harness: GeneratorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, before = AuditRecorder.record, harness.gateway.recorder.size

    def opening_alone(self: AuditRecorder, outcome: Any) -> Any:
        if outcome.outcome != "opened":
            raise SealgateError(Reason.RECORD_FAILED)
        return record(self, outcome)

    with monkeypatch.context() as patched:
        patched.setattr(AuditRecorder, "record", opening_alone)
        found = stream(harness, asked(max_tokens=4, receipt=True))
    assert found[-1].error_message.startswith(Reason.RECORD_FAILED.name)
    assert not any(is_last(one.infer_response) for one in found[:-1])
    assert "receipt" not in found[-1].infer_response.parameters
    assert [entry["outcome"] for entry in harness.entries(before)] == ["opened"]


def test_a_stream_on_which_nobody_asks_ends(
    harness: GeneratorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    # The value of `[limits] idle`; so short, it would end streams of other tests too.
    monkeypatch.setattr(harness.gateway.stream_limiter, "idle_seconds", 0.5)

    def silent() -> Iterator[oip.ModelInferRequest]:
        over.wait(60)
        yield from ()

    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        list(harness.inference().ModelStreamInfer(silent(), timeout=60))
    over.set()
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert time.monotonic() - began < 50
    until(lambda: not harness.gateway.stream_limiter.ends)
    # It may be recorded yet, or never: gRPC says to a server either that the call was cancelled or
    # that no message comes any more. Other tests count entries.
    time.sleep(1)
