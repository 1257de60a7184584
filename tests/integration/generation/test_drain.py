"""A gateway that stops records the end of every stream before it closes its log."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.pipeline.generation_context import GenerationContext
from gateway.recording.recorder import AuditRecorder
from inference.llm.messages import AnswerPart
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, write_inputs
from sealgate.trust.receipts.answer_entry import CUT, OPENED
from tests.support.builders.models import tiny_decoder
from tests.support.fakes.generation import Stream, call_on, generate
from tests.support.harness.clients.http_client import HTTP, client_of
from tests.support.harness.generator import OUTPUT_TOKENS, GeneratorHarness, generating

pytestmark = pytest.mark.slow

PROMPT = "The following identifiers are used as reserved words"


def asked() -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="tiny")
    request.parameters["max_tokens"].int64_param = OUTPUT_TOKENS
    array = np.empty(1, object)
    array[0] = PROMPT.encode()
    write_inputs(request, [Tensor.of("text_input", array)])
    return request


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[GeneratorHarness]:
    folder = tiny_decoder.make(tmp_path / "tiny")
    with generating(tmp_path / "state", folder, f"{HTTP}\n[limits]\ndrain = 3.0\n") as harness:
        yield harness


def test_ends_of_streams_are_recorded_at_stop(
    harness: GeneratorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, add = AuditRecorder.record, GenerationContext.add

    def slowly(self: GenerationContext, *given: Any) -> None:
        # So that none comes to its end.
        time.sleep(1.0)
        add(self, *given)

    def late(self: AuditRecorder, outcome: Any) -> Any:
        # As on a machine that has much to do.
        if outcome.outcome == CUT:
            time.sleep(1.0)
        return record(self, outcome)

    monkeypatch.setattr(GenerationContext, "add", slowly)
    monkeypatch.setattr(AuditRecorder, "record", late)
    before = harness.gateway.recorder.size
    ask = harness.inference()
    calls = [ask.ModelStreamInfer(iter([asked()]), timeout=240) for _ in range(3)]
    for call in calls:
        next(call)
    client = client_of(harness)
    chat = {"model": "tiny", "messages": [{"role": "user", "content": PROMPT}], "stream": True}
    body = json.dumps({**chat, "max_tokens": OUTPUT_TOKENS})
    client.connection.request("POST", "/v1/chat/completions", body, dict(client.headers))
    assert client.connection.getresponse().read(6) == b"data: "
    gateway, harness.gateway = harness.gateway, None
    gateway.stop()
    client.close()
    harness.start()
    outcomes = [entry["outcome"] for entry in harness.entries(before)]
    assert outcomes.count(OPENED) == outcomes.count(CUT) == 4


def test_a_stream_that_goes_on_is_waited_for_within_the_limit() -> None:
    generation = generate([AnswerPart((5,), b"one"), AnswerPart((6,), b" two", "stop")])
    generation.wait(60)
    answer: Any = generation.parts(asked(), call_on(Stream()), streams=True)
    next(answer)
    generation.wait(0.01)
    threading.Timer(0.2, answer.close).start()
    generation.wait(60)
    assert not generation.running
