"""The generator's process is killed while it answers: what callers hear, what is recorded, and that
it goes on once there is another.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import Tensor, write_inputs
from tests.support.engine_process import EngineProcess
from tests.support.generator_house import OUTPUT_TOKENS, GeneratorHouse
from tests.support.http_client import HTTP, client_of
from tests.support.kitchen import until

MESSAGES = [{"role": "user", "content": "The following identifiers are used as reserved words"}]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[EngineProcess]:
    process = EngineProcess(tmp_path / "state", "generator.toml", kind="generator")
    yield process
    if process.runs:
        process.kill()


@pytest.fixture
def house(tmp_path: Path, folder: Path, process: EngineProcess) -> Iterator[GeneratorHouse]:
    house = GeneratorHouse(tmp_path / "state", HTTP)
    process.start()
    try:
        house.start()
        house.publish_generator(folder)
        house.promote("tiny", 1)
        yield house
    finally:
        house.stop()


def asked(tokens: int) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="tiny")
    request.parameters["max_tokens"].int64_param = tokens
    array = np.empty(1, object)
    array[0] = json.dumps(MESSAGES).encode()
    write_inputs(request, [Tensor.of("messages", array)])
    return request


def test_a_process_that_is_killed(house: GeneratorHouse, process: EngineProcess) -> None:
    before, client = house.gateway.recorder.size, client_of(house)
    call = house.inference().ModelStreamInfer(iter([asked(OUTPUT_TOKENS)]), timeout=60)
    next(call)
    document = {"model": "tiny", "messages": MESSAGES, "stream": True}
    client.connection.request(
        "POST", "/v1/chat/completions", json.dumps(document), dict(client.headers)
    )
    response = client.connection.getresponse()
    response.readline()
    process.pause()
    process.kill()
    *_, told = call
    assert told.error_message.startswith(Reason.ENGINE_UNAVAILABLE.name)
    *_, last = response.read().decode().strip().split("data: ")
    assert json.loads(last)["error"]["code"] == Reason.ENGINE_UNAVAILABLE.name
    until(lambda: house.gateway.recorder.size == before + 4)
    entries = house.entries(before)
    assert sorted(entry["outcome"] for entry in entries) == [
        Reason.ENGINE_UNAVAILABLE.name,
        Reason.ENGINE_UNAVAILABLE.name,
        "opened",
        "opened",
    ]
    # What had come is bound by the entry that tells of its end.
    ended = [entry for entry in entries if entry["outcome"] != "opened"]
    assert all(entry["output"].startswith("sha256:") for entry in ended)
    found = client.post("/v1/chat/completions", {"model": "tiny", "messages": MESSAGES})
    assert (found.status, found.json["error"]["code"]) == (503, Reason.ENGINE_UNAVAILABLE.name)
    process.start()
    end = time.monotonic() + 60
    while client.post("/v1/chat/completions", {**document, "stream": False}).status != 200:
        assert time.monotonic() < end
        time.sleep(0.2)
