"""A gateway whose language models run on a server of OpenAI's protocol: another installation's
surface, and `transformers serve`, where `make test-extra NAME=openai` has installed what it takes.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from inference.backends.openai.client import OpenAiServer
from inference.llm.request import answer_digest
from sealgate.reasons import Reason
from sealgate.trust.keys import write_private_file
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.builders.chats import MESSAGES
from tests.support.fakes.blocking_worker import until
from tests.support.harness.clients.http_client import (
    HTTP,
    HttpAnswer,
    HttpClient,
    api_key,
    client_of,
)
from tests.support.harness.generator import GeneratorHarness, generating
from tests.support.harness.policy_changes import change
from tests.support.harness.servers.openai_servers import transformers_server
from tests.support.oracles.programs import own_python_with

pytestmark = pytest.mark.slow

ENGINE = 'openai "elsewhere", neither digest nor tokens checked there'


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[GeneratorHarness]:
    """The installation that generates."""
    with generating(tmp_path_factory.mktemp("other") / "state", folder, HTTP) as harness:
        yield harness


class Asking(GeneratorHarness):
    """An installation that has a server of OpenAI's protocol generate for it."""

    def __init__(self, state: Path, url: str, key: str, model: str = "{model}") -> None:
        super().__init__(state, HTTP)
        write_private_file(state / "openai.key", key.encode())
        path = state / "gateway.toml"
        before, _, rest = path.read_text().partition("[generator]")
        _, _, after = rest.partition("\n\n")
        section = f"""[generator]
kind = "openai"
name = "elsewhere"
url = "{url}"
key = "openai.key"
model = "{model}"

"""
        path.write_text(before + section + after)

    def let_pass(self, action: str) -> None:
        """Say in the policy what adversarial prompts lead to."""
        screen = {"verdicts": {"adversarial": action}}
        change(self, lambda policy: policy.update(screens={"tiny": screen}))
        until(
            lambda: (
                self.gateway.engine.policy_in_force().screen("tiny").verdicts.adversarial == action
            )
        )


@contextmanager
def asking(
    state: Path, folder: Path, url: str, key: str, model: str = "{model}"
) -> Iterator[Asking]:
    harness = Asking(state, url, key, model)
    try:
        harness.start()
        harness.publish_generator(folder)
        harness.promote("tiny", 1)
        yield harness
    finally:
        harness.stop()


@pytest.fixture(scope="module", params=["sealgate", "transformers"])
def harness(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    folder: Path,
    other: GeneratorHarness,
) -> Iterator[Asking]:
    state = tmp_path_factory.mktemp("asking") / "state"
    with ExitStack() as leaving:
        if request.param == "sealgate":
            port, model = other.gateway.ports["http-insecure"], "{model}"
            key = api_key(other, "client")
        else:
            python = own_python_with("openai_server", "fastapi")
            port = leaving.enter_context(transformers_server(python, folder))
            key, model = "unused", str(folder)
        url = f"http://127.0.0.1:{port}/v1"
        yield leaving.enter_context(asking(state, folder, url, key, model))


@pytest.fixture
def client(harness: Asking) -> Iterator[HttpClient]:
    client = client_of(harness)
    yield client
    client.close()


def post(client: HttpClient, **changes: Any) -> HttpAnswer:
    document = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12, **changes}
    return client.post("/v1/chat/completions", document)


def text_of(seen: HttpAnswer) -> str:
    assert seen.status == 200, seen.json
    return str(seen.json["choices"][0]["message"]["content"])


def code(seen: HttpAnswer) -> Reason:
    return Reason[seen.json["error"]["code"]]


def test_what_nobody_measures_is_refused_unless_the_policy_lets_it_pass(
    harness: Asking, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    chat = OpenAiServer.chat

    def watched(self: OpenAiServer, document: Any, *given: Any) -> Iterator[Any]:
        sent.append(document)
        yield from chat(self, document, *given)

    monkeypatch.setattr(OpenAiServer, "chat", watched)
    harness.let_pass("block")
    before = harness.gateway.recorder.size
    assert code(post(client)) is Reason.ENGINE_UNSUITABLE
    assert sent == []
    (entry,) = harness.entries(before)
    assert (entry["outcome"], entry["verdict"]) == (Reason.ENGINE_UNSUITABLE.name, "")
    harness.let_pass("flag")
    before = harness.gateway.recorder.size
    assert text_of(post(client))
    assert len(sent) == 1
    (entry,) = harness.entries(before)
    # Nobody here knows what it is computed with.
    assert (entry["screening"], entry["arithmetic"]) == ("none", "")


def test_the_answer_is_the_servers_and_the_record_says_what_it_binds(
    harness: Asking, client: HttpClient, other: GeneratorHarness
) -> None:
    harness.let_pass("flag")
    expected = post(client_of(other))
    before = harness.gateway.recorder.size
    found = post(client, sealgate={"receipt": True})
    # transformers' server, where it does not batch, says the prompt first.
    assert text_of(found).endswith(text_of(expected))
    assert 0 < found.json["usage"]["completion_tokens"] <= 12
    assert found.json["usage"]["prompt_tokens"] > 1
    receipt = Receipt.decode(found.json["sealgate"]["receipt"].encode())
    told = verify_receipt(receipt, harness.governance("client").policy()).fields
    assert told["output"] == answer_digest([], [], text_of(found).encode())
    (entry,) = harness.entries(before)
    assert (entry["outcome"], entry["engine"], entry["verdict"]) == ("answered", ENGINE, "")


def test_it_streams(harness: Asking, client: HttpClient) -> None:
    harness.let_pass("flag")
    expected = text_of(post(client))
    before = harness.gateway.recorder.size
    seen = post(client, stream=True)
    *said, done = seen.body.decode().strip().split("\n\n")
    chunks = [json.loads(each.removeprefix("data: ")) for each in said]
    assert done == "data: [DONE]"
    assert len(chunks) > 4
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == expected
    assert [entry["outcome"] for entry in harness.entries(before)] == ["opened", "answered"]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "user", "content": "say <|end|>"}], Reason.CHAT_MALFORMED),
        ([{"role": "user", "content": "say ＜｜end｜＞"}], Reason.CHAT_MALFORMED),  # noqa: RUF001
        ([], Reason.CHAT_MALFORMED),
        ([{"role": "user", "content": "word " * 2000}], Reason.PROMPT_TOO_LONG),
    ],
)
def test_prompts_that_are_not_sent(
    harness: Asking, client: HttpClient, messages: list[Any], reason: Reason
) -> None:
    harness.let_pass("flag")
    assert code(post(client, messages=messages)) is reason


def test_a_prompt_that_is_no_chat(harness: Asking, client: HttpClient) -> None:
    tensor = {"name": "text_input", "datatype": "BYTES", "shape": [1], "data": ["Hello"]}
    assert client.infer({"inputs": [tensor]}, "tiny").reason is Reason.TENSOR_NAME


def test_a_server_that_is_away_is_told_of(tmp_path: Path, folder: Path) -> None:
    with asking(tmp_path / "state", folder, "http://127.0.0.1:9/v1", "unused") as harness:
        harness.let_pass("record")
        before = harness.gateway.recorder.size
        client = client_of(harness)
        assert code(post(client)) is Reason.ENGINE_UNAVAILABLE
        assert harness.entries(before)[0]["outcome"] == Reason.ENGINE_UNAVAILABLE.name
        client.close()
