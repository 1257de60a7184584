"""Half surrogate pairs and NUL in stops and messages are refused."""

import json

import pytest

from generation.models.decoder import LanguageModel
from inference.llm.messages import read_sampling_request
from inference.llm.request import Sampling, SamplingRequest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import tiny_decoder


def test_a_stop_that_cannot_be_recorded_is_refused() -> None:
    request = oip.ModelInferRequest(model_name="tiny")
    request.parameters["stop"].string_param = '["\\ud800"]'
    with pytest.raises(SealgateError) as found:
        read_sampling_request(request, lambda: 0)
    assert found.value.reason is Reason.PARAMETER_MALFORMED


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("decoder") / "tiny"
    return LanguageModel.read(tiny_decoder.make(folder, steps=0, layers=1))


@pytest.mark.parametrize("content", ["a\ud800", "a\0b"])
def test_a_message_that_is_no_text_is_refused(decoder: LanguageModel, content: str) -> None:
    messages = json.dumps([{"role": "user", "content": content}]).encode()
    with pytest.raises(SealgateError) as found:
        decoder.prompt_ids(SamplingRequest(messages, True, Sampling(1)), 64)
    assert found.value.reason is Reason.CHAT_MALFORMED
