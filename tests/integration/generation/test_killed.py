"""The generator's process is killed while it answers: what callers hear, what is recorded, and that
it goes on once there is another.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from tests.support.builders.chats import MESSAGES
from tests.support.builders.generated import asked
from tests.support.fakes.blocking_worker import until
from tests.support.harness.clients.http_client import HTTP, client_of
from tests.support.harness.generator import OUTPUT_TOKENS, GeneratorHarness
from tests.support.harness.processes.engine_process import EngineProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def process(tmp_path: Path) -> Iterator[EngineProcess]:
    process = EngineProcess(tmp_path / "state", "generator.toml", kind="generator")
    yield process
    if process.runs:
        process.kill()


@pytest.fixture
def harness(tmp_path: Path, folder: Path, process: EngineProcess) -> Iterator[GeneratorHarness]:
    harness = GeneratorHarness(tmp_path / "state", HTTP)
    process.start()
    try:
        harness.start()
        harness.publish_generator(folder)
        harness.promote("tiny", 1)
        yield harness
    finally:
        harness.stop()


def asked_of(tokens: int) -> oip.ModelInferRequest:
    return asked(json.dumps(MESSAGES), name="messages", max_tokens=tokens)


def test_a_process_that_is_killed(harness: GeneratorHarness, process: EngineProcess) -> None:
    before, client = harness.gateway.recorder.size, client_of(harness)
    call = harness.inference().ModelStreamInfer(iter([asked_of(OUTPUT_TOKENS)]), timeout=60)
    next(call)
    # Or this answer might come to its end before the other has begun.
    process.pause()
    document = {"model": "tiny", "messages": MESSAGES, "stream": True}
    client.connection.request(
        "POST", "/v1/chat/completions", json.dumps(document), dict(client.headers)
    )
    # Meanwhile the gateway hands the request on, however slow it is.
    time.sleep(1)
    process.resume()
    response = client.connection.getresponse()
    response.readline()
    process.pause()
    process.kill()
    *_, told = call
    assert told.error_message.startswith(Reason.ENGINE_UNAVAILABLE.name)
    *_, last = response.read().decode().strip().split("data: ")
    assert json.loads(last)["error"]["code"] == Reason.ENGINE_UNAVAILABLE.name
    until(lambda: harness.gateway.recorder.size == before + 4)
    entries = harness.entries(before)
    assert sorted(entry["outcome"] for entry in entries) == [
        Reason.ENGINE_UNAVAILABLE.name,
        Reason.ENGINE_UNAVAILABLE.name,
        "opened",
        "opened",
    ]
    # The entry about the end binds the text that had arrived.
    ended = [entry for entry in entries if entry["outcome"] != "opened"]
    assert all(entry["output"].startswith("sha256:") for entry in ended)
    found = client.post("/v1/chat/completions", {"model": "tiny", "messages": MESSAGES})
    assert (found.status, found.json["error"]["code"]) == (503, Reason.ENGINE_UNAVAILABLE.name)
    process.start()
    end = time.monotonic() + 60
    while client.post("/v1/chat/completions", {**document, "stream": False}).status != 200:
        assert time.monotonic() < end
        time.sleep(0.2)
