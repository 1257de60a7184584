"""Unary calls to a language model hold a bounded share of the threads, over gRPC and HTTP."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from generation.batching.causal_batches import CausalBatches
from inference.llm.request import Sampling
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import Tensor, write_inputs
from tests.support.builders.models import tiny_decoder
from tests.support.fakes.blocking_worker import until
from tests.support.harness.clients.http_client import HTTP, client_of
from tests.support.harness.gateway import refusal
from tests.support.harness.generator import GeneratorHarness, generating

pytestmark = pytest.mark.slow

# Of eight threads two are for streams.
MORE = f"{HTTP}\n[limits]\nthreads = 8\n"


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratorHarness]:
    folder = tiny_decoder.make(tmp_path_factory.mktemp("decoder") / "tiny")
    with generating(tmp_path_factory.mktemp("state"), folder, MORE) as harness:
        yield harness


def asked() -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="tiny")
    array = np.empty(1, object)
    array[0] = b"The following identifiers are used"
    write_inputs(request, [Tensor.of("text_input", array)])
    return request


def full(batches: CausalBatches) -> Any:
    """All room is taken while the block runs, so that answers wait."""
    return batches.answer([1] * 4, Sampling(batches.room.pages * 16 - 16), time.monotonic() + 300)


def test_grpc_calls_of_one_caller_are_bounded(harness: GeneratorHarness) -> None:
    ask = harness.inference()
    with full(harness.batches()):
        waiting = [ask.ModelInfer.future(asked(), timeout=240) for _ in range(3)]
        until(lambda: any(call.done() for call in waiting))
        assert [refusal(call.result) for call in waiting if call.done()] == [Reason.QUEUE_FULL]
        # And whatever else is asked is answered.
        assert ask.ServerLive(oip.ServerLiveRequest(), timeout=60).live
    assert sum(call.exception() is None for call in waiting) == 2


class Other:
    """Somebody's stream."""

    def cancel(self) -> None:
        """Nothing comes of it."""


def test_http_calls_of_one_caller_are_bounded(harness: GeneratorHarness) -> None:
    text = {"name": "text_input", "datatype": "BYTES", "shape": [1], "data": ["The following"]}
    client, stream_limiter = client_of(harness), harness.gateway.http.stream_limiter
    with stream_limiter.streaming(Other(), "a"), stream_limiter.streaming(Other(), "b"):
        assert client.infer({"inputs": [text]}, "tiny").reason is Reason.QUEUE_FULL
    assert client.infer({"inputs": [text]}, "tiny").status == 200
    client.close()
