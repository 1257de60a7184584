"""Harnesses of what callers send: tensors, chats, filters, packed bodies."""

import gzip
import json
import zlib
from collections.abc import Iterator

import numpy as np
from google.protobuf.message import DecodeError

from gateway.calls.messages import encoding_of, unpacked
from gateway.calls.params import read_params
from gateway.transport.http.chat import read_chat
from gateway.transport.http.infer import read_request
from inference.llm.messages import read_sampling_request
from registry.listing.filters import parse_filter
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, read_inputs, write_inputs
from tests.fuzz.harness import Harness, chosen

_LARGEST = 1 << 20


def _parse_tensors(data: bytes) -> None:
    request = oip.ModelInferRequest.FromString(data)
    read_params(request)
    for tensor in read_inputs(request).values():
        again = Tensor.of(tensor.name, tensor.data).raw
        if tensor.datatype == "BF16":
            # It is read as float32, of which it is the high half.
            again = np.frombuffer(again, "<u2")[1::2].tobytes()
        assert again == tensor.raw


def _tensors() -> Iterator[bytes]:
    request = oip.ModelInferRequest(model_name="digits", id="case-7")
    request.parameters["alias"].string_param = "canary"
    request.parameters["receipt"].bool_param = True
    texts = np.array([b"one", b""], object)
    write_inputs(request, [Tensor.of("x", np.zeros((1, 4), np.float32)), Tensor.of("t", texts)])
    yield request.SerializeToString()
    typed = oip.ModelInferRequest(model_name="digits", model_version="2")
    tensor = typed.inputs.add(name="x", datatype="INT8", shape=[1, 3])
    tensor.contents.int_contents.extend((1, -2, 127))
    typed.outputs.add(name="logits")
    yield typed.SerializeToString()
    half = oip.ModelInferRequest(model_name="digits", raw_input_contents=[b"\x80\x3f"])
    half.inputs.add(name="x", datatype="BF16", shape=[1])
    yield half.SerializeToString()


def _parse_json_tensors(data: bytes) -> None:
    length, rest = chosen(data, 128)
    stated = None if length == 0 else str(min(length * 8, len(rest)))
    request, _ = read_request("digits", "", rest, stated)
    read_params(request)
    read_inputs(request)


def _json_tensors() -> Iterator[bytes]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [[0.5, -1e3]]}
    texts = {"name": "t", "datatype": "BYTES", "shape": [2], "data": ["a", "\u00e9"]}
    whole = {"id": "7", "inputs": [tensor, texts], "parameters": {"receipt": True}}
    yield b"\0" + json.dumps(whole).encode()
    raw = {"name": "x", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [raw], "outputs": [{"name": "y"}]}).encode()
    head += b" " * (-len(head) % 8)
    yield bytes([len(head) // 8]) + head + bytes(8)


def _parse_chat(data: bytes) -> None:
    chat = read_chat(data)
    read_sampling_request(chat.request, lambda: 1)


def _chats() -> Iterator[bytes]:
    parts = [{"type": "text", "text": "hi"}]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]
    asked = {
        "model": "tiny",
        "messages": messages,
        "max_tokens": 8,
        "temperature": 0.5,
        "stop": ["."],
        "stream": True,
        "stream_options": {"include_usage": True},
        "sealgate": {"receipt": True, "version": "1"},
    }
    yield json.dumps(asked).encode()


def _parse_filter(data: bytes) -> None:
    parse_filter(data.decode("utf-8", "surrogateescape"))


def _filters() -> Iterator[bytes]:
    yield b"publisher = p AND (state:* OR -size >= \"7\") AND NOT note = 'a\\'b'"


def _parse_body(data: bytes) -> None:
    kind, rest = chosen(data, 4)
    encoding = (encoding_of(rest), "gzip", "deflate", "identity")[kind]
    assert len(unpacked(rest, encoding, _LARGEST)) <= _LARGEST


def _bodies() -> Iterator[bytes]:
    yield b"\1" + gzip.compress(b"abc" * 100, mtime=0)
    yield b"\2" + zlib.compress(b"abc" * 100)
    yield b"\0" + gzip.compress(bytes(2 << 20), mtime=0)


HARNESSES = (
    Harness(
        "oip-tensors",
        _parse_tensors,
        _tensors,
        ("sealgate.tensors", "gateway.calls.params"),
        (DecodeError,),
    ),
    Harness(
        "json-tensors",
        _parse_json_tensors,
        _json_tensors,
        (
            "gateway.transport.http.infer",
            "gateway.transport.http.bodies",
        ),
    ),
    Harness(
        "chats", _parse_chat, _chats, ("gateway.transport.http.chat", "inference.llm.messages")
    ),
    Harness("filters", _parse_filter, _filters, ("registry.listing.filters",)),
    Harness("bodies", _parse_body, _bodies, ("gateway.calls.messages",)),
)
