"""Gateway and generator agree on the limits of `stop`, however it is encoded."""

import json

import pytest

from gateway.transport.http.chat import read_chat
from inference.llm.messages import read_sampling_request, write_sampling_request
from inference.llm.request import LONGEST_STOP, MOST_STOPS, Sampling, SamplingRequest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError

STOPS = tuple(str(number) + "👍" * (LONGEST_STOP - 1) for number in range(MOST_STOPS))


def test_a_generator_reads_what_a_gateway_writes() -> None:
    asked = SamplingRequest(b"Hello", False, Sampling(4, stop=STOPS))
    request = oip.ModelInferRequest(model_name="tiny")
    write_sampling_request(request, asked)
    assert read_sampling_request(request, lambda: 0) == asked


def test_a_chat_may_name_the_longest_stops() -> None:
    messages = [{"role": "user", "content": "Hello"}]
    body = json.dumps({"model": "tiny", "messages": messages, "stop": STOPS}).encode()
    assert read_sampling_request(read_chat(body).request, lambda: 0).sampling.stop == STOPS


@pytest.mark.parametrize("stops", [[*STOPS, "x"], ["x" * (LONGEST_STOP + 1)], ["x" * 20_000]])
def test_more_stops_are_refused_by_name(stops: list[str]) -> None:
    request = oip.ModelInferRequest(model_name="tiny")
    request.parameters["stop"].string_param = json.dumps(stops)
    with pytest.raises(SealgateError) as found:
        read_sampling_request(request, lambda: 0)
    assert found.value.reason is Reason.PARAMETER_MALFORMED
    assert found.value.facts == {"param": "stop"}
