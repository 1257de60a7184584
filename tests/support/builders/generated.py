"""Requests to a language model by gRPC, and readers of its answers."""

from typing import Any

import numpy as np

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, read_outputs, write_inputs
from tests.support.harness.gateway import GatewayHarness

PROMPT = "The following identifiers are used as reserved words"
_KINDS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}


def asked(
    prompt: str | bytes = PROMPT, model: str = "tiny", name: str = "text_input", **parameters: Any
) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name=model, id="7")
    for key, value in parameters.items():
        setattr(request.parameters[key], _KINDS[type(value)], value)
    array = np.empty(1, object)
    array[0] = prompt if isinstance(prompt, bytes) else prompt.encode()
    write_inputs(request, [Tensor.of(name, array)])
    return request


def stream(harness: GatewayHarness, *requests: oip.ModelInferRequest) -> list[Any]:
    return list(harness.inference().ModelStreamInfer(iter(requests), timeout=60))


def text_of(response: oip.ModelInferResponse) -> str:
    return read_outputs(response)["text_output"].data.item().decode()


def ids_of(response: oip.ModelInferResponse) -> list[int]:
    return read_outputs(response)["token_ids"].data.tolist()


def is_last(response: oip.ModelInferResponse) -> bool:
    return response.parameters["triton_final_response"].bool_param
