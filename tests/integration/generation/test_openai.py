"""Language models by OpenAI's protocol: by its own client, and what callers are refused."""

import json
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gateway.front_door import FrontDoor
from gateway.quota_settings import Quota
from gateway.quota_tokens import MemoryTokens
from generation.decoder import Decoder
from inference.generation import Asked, Sampling, answer_digest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal
from sealgate.remote import reason_of
from sealgate.tensors import Tensor, write_inputs
from sealgate.trust import canonical
from sealgate.trust.receipt import Receipt, verify_receipt
from tests.support.generator_house import OUTPUT_TOKENS, GeneratorHouse, generating
from tests.support.http_client import HTTP, HttpClient, Seen, client_of
from tests.support.kitchen import until
from tests.support.oracles import python_with, run

MESSAGES = [{"role": "user", "content": "The following identifiers are used as reserved words"}]
PROMPT = canonical.encode(MESSAGES)
MORE = f"""{HTTP}
[metrics]
listen = "127.0.0.1:0"

[limits]
idle = 0.5
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[GeneratorHouse]:
    with generating(tmp_path_factory.mktemp("state"), folder, MORE) as house:
        yield house


@pytest.fixture
def client(house: GeneratorHouse) -> Iterator[HttpClient]:
    client = client_of(house)
    yield client
    client.close()


@pytest.fixture(scope="module")
def seen(house: GeneratorHouse) -> dict[str, Any]:
    """What OpenAI's client saw, and the `entries` that it left."""
    profile, letters = house.profile("client"), random.Random(1)  # noqa: S311
    noise = "".join(letters.choice("qzxjkvw#@%&~^") for _ in range(40))
    before = house.gateway.recorder.size
    done = run(
        [
            python_with("openai"),
            Path(__file__).with_name("openai_client.py"),
            f"localhost:{house.gateway.ports['http']}",
            profile.server_authority,
        ],
        json.dumps(
            {"token": profile.token.read_text().strip(), "messages": MESSAGES, "noise": noise}
        ),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "entries": house.entries(before)}


def post(client: HttpClient, **changes: Any) -> Seen:
    document = {"model": "tiny", "messages": MESSAGES, **changes}
    return client.post("/v1/chat/completions", document)


def code(seen: Seen) -> Reason:
    """Of a refusal in OpenAI's form."""
    error = seen.json["error"]
    reason = Reason[error["code"]]
    assert error["message"] == reason.sentence
    return reason


def text_of(completion: dict[str, Any]) -> str:
    return str(completion["choices"][0]["message"]["content"])


def begun(client: HttpClient, **changes: Any) -> HTTPResponse:
    """A stream whose head has come."""
    document = {"model": "tiny", "messages": MESSAGES, "stream": True, **changes}
    client.connection.request(
        "POST", "/v1/chat/completions", json.dumps(document), dict(client.headers)
    )
    return client.connection.getresponse()


def events(response: HTTPResponse) -> list[Any]:
    """What is left of a stream, `[DONE]` included."""
    found = re.findall(r"data: (.*)\n\n", response.read().decode())
    return [each if each == "[DONE]" else json.loads(each) for each in found]


@contextmanager
def limited(house: GeneratorHouse, tokens: str) -> Iterator[None]:
    """While the block runs, clients have a quota of tokens."""
    quotas = house.gateway._quotas
    quotas._quotas = (Quota(role="client", tokens=tokens),)
    quotas._shares.clear()
    try:
        yield
    finally:
        quotas._quotas = ()


def test_the_answer_is_that_of_the_protocol(
    house: GeneratorHouse, seen: dict[str, Any], decoder: Decoder
) -> None:
    request = oip.ModelInferRequest(model_name="tiny")
    request.parameters["max_tokens"].int64_param = 12
    array = np.empty(1, object)
    array[0] = PROMPT
    write_inputs(request, [Tensor.of("messages", array)])
    answer = house.inference().ModelInfer(request)
    whole = seen["whole"]
    assert text_of(whole).encode() == answer.raw_output_contents[0][4:]
    cut = decoder.prompt_ids(Asked(PROMPT, True, Sampling(1)), 200)
    assert whole["usage"]["prompt_tokens"] == len(cut)
    assert whole["usage"]["completion_tokens"] == 12
    assert whole["usage"]["total_tokens"] == len(cut) + 12
    assert (whole["object"], whole["model"]) == ("chat.completion", "tiny")
    assert whole["choices"][0]["finish_reason"] == "length"
    assert (whole["sealgate"], whole["system_fingerprint"]) == ({"version": "1"}, "tiny/1")


def test_chunks_are_the_answer_in_parts(seen: dict[str, Any]) -> None:
    *said, last = seen["chunks"]
    deltas = [chunk["choices"][0]["delta"] for chunk in said]
    assert "".join(delta["content"] for delta in deltas) == text_of(seen["whole"])
    assert [delta["role"] for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert len(deltas) == 12
    ends = [chunk["choices"][0]["finish_reason"] for chunk in said]
    assert ends == [None] * 11 + ["length"]
    assert {chunk["id"] for chunk in seen["chunks"]} == {last["id"]}
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 12)


def test_a_seed_and_a_stop_are_followed(seen: dict[str, Any]) -> None:
    one, again, other = seen["drawn"]
    assert one == again != other
    whole, stop = text_of(seen["whole"]), seen["stop"]
    assert text_of(seen["stopped"]) == whole[: whole.index(stop)]
    assert seen["stopped"]["choices"][0]["finish_reason"] == "stop"


def test_who_names_no_number_gets_as_many_as_the_version_gives(seen: dict[str, Any]) -> None:
    assert 12 < seen["unended"] <= OUTPUT_TOKENS


def test_receipts_bind_what_openais_client_saw(
    house: GeneratorHouse, seen: dict[str, Any], decoder: Decoder
) -> None:
    policy = house.governance("client").policy()

    def fields(text: str) -> Any:
        return verify_receipt(Receipt.decode(text.encode()), policy).fields

    asked = Asked(PROMPT, True, Sampling(12, 0.7, seed=4))
    assert seen["proven"]["sealgate"]["seed"] == 4
    found = fields(seen["proven"]["sealgate"]["receipt"])
    assert (found["input"], found["outcome"]) == (asked.digest, "answered")
    assert found["method"] == "/inference.GRPCInferenceService/ModelStreamInfer"
    first, last = seen["chunks"][0]["sealgate"], seen["chunks"][-1]["sealgate"]
    assert fields(first["opening_receipt"])["outcome"] == "opened"
    ids = decoder.prompt_ids(asked, 200)
    told = fields(last["receipt"])
    greedy = house.batches()
    with greedy.answer(ids, Sampling(12), time.monotonic() + 30) as answer:
        tokens = list(answer)
    assert told["output"] == answer_digest(ids, tokens, text_of(seen["whole"]).encode())


def test_models(seen: dict[str, Any]) -> None:
    assert seen["models"] == ["tiny"]
    assert seen["model"] == "tiny"


@pytest.mark.parametrize(
    ("what", "kind", "reason", "param"),
    [
        ("malformed", "BadRequestError", Reason.PARAMETER_MALFORMED, None),
        ("unknown field", "BadRequestError", Reason.PARAMETER_MALFORMED, "logprobs"),
        ("two answers", "BadRequestError", Reason.PARAMETER_MALFORMED, "n"),
        ("unknown model", "NotFoundError", Reason.MODEL_UNKNOWN, None),
        ("no model", "NotFoundError", Reason.MODEL_UNKNOWN, None),
        ("chat", "BadRequestError", Reason.CHAT_MALFORMED, None),
        ("streamed", "NotFoundError", Reason.MODEL_UNKNOWN, None),
        ("stranger", "AuthenticationError", Reason.TOKEN_MALFORMED, None),
        ("attack", "BadRequestError", Reason.ADVERSARIAL_INPUT, None),
    ],
)
def test_refusals_are_openais_exceptions(
    seen: dict[str, Any], what: str, kind: str, reason: Reason, param: str | None
) -> None:
    assert seen["refused"][what] == [kind, reason.name, param, reason.sentence]
    if reason is not Reason.TOKEN_MALFORMED and what != "no model":
        assert reason.name in [entry["outcome"] for entry in seen["entries"]]


def test_a_refusal_has_its_receipt_where_one_was_asked_for(
    house: GeneratorHouse, client: HttpClient
) -> None:
    found = post(client, max_tokens=0, sealgate={"receipt": True})
    assert code(found) is Reason.PARAMETER_MALFORMED
    receipt = Receipt.decode(found.json["error"]["receipt"].encode())
    told = verify_receipt(receipt, house.governance("client").policy()).fields
    assert told["outcome"] == Reason.PARAMETER_MALFORMED.name


def test_other_paths_and_callers_are_refused_in_its_form(house: GeneratorHouse) -> None:
    assert code(client_of(house).get("/v1/embeddings")) is Reason.PATH_UNKNOWN
    for path in ("/v1/models", "/v1/models/tiny"):
        found = HttpClient(house).get(path)
        assert (found.status, code(found)) == (401, Reason.CREDENTIAL_MISSING)
    # Staff may see which models there are, and ask none of them.
    auditor = client_of(house, "auditor")
    assert [model["id"] for model in auditor.get("/v1/models").json["data"]] == ["tiny"]
    found = post(auditor)
    assert (found.status, code(found)) == (403, Reason.ROLE_TOO_LOW)


def test_a_caller_who_goes_is_noticed_and_recorded(house: GeneratorHouse) -> None:
    batches, before, client = house.batches(), house.gateway.recorder.size, client_of(house)
    response = begun(client, max_tokens=OUTPUT_TOKENS)
    assert response.read(6) == b"data: "
    with batches.manager.pause():
        response.close()
        client.close()
        until(lambda: house.gateway.recorder.size == before + 2)
    assert [entry["outcome"] for entry in house.entries(before)] == ["opened", "cut"]
    until(lambda: batches.room.free == batches.room.pages)


def test_a_caller_who_goes_while_he_waits_leaves_the_queue(house: GeneratorHouse) -> None:
    batches, before, client = house.batches(), house.gateway.recorder.size, client_of(house)
    with batches.answer([1] * 4, Sampling(batches.room.pages * 16 - 16), time.monotonic() + 60):
        document = json.dumps({"model": "tiny", "messages": MESSAGES})
        client.connection.request("POST", "/v1/chat/completions", document, client.headers)
        until(lambda: batches.room.waiting == 1)
        client.close()
        until(lambda: batches.room.waiting == 0)
    until(lambda: house.gateway.recorder.size == before + 1)


def test_what_goes_wrong_in_the_middle_is_the_last_event(
    house: GeneratorHouse, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit, count = FrontDoor.admit, iter(range(100))

    def three_times(self: FrontDoor, *given: Any) -> None:
        if next(count) == 3:
            raise Refusal(Reason.TOKEN_EXPIRED)
        admit(self, *given)

    before = house.gateway.recorder.size
    monkeypatch.setattr(FrontDoor, "admit", three_times)
    found = events(begun(client, max_tokens=OUTPUT_TOKENS))
    assert [("error" in each) for each in found] == [False, False, True]
    assert found[-1]["error"]["code"] == Reason.TOKEN_EXPIRED.name
    outcomes = [entry["outcome"] for entry in house.entries(before)]
    assert outcomes == ["opened", "cut", Reason.TOKEN_EXPIRED.name]
    monkeypatch.undo()
    # And the connection goes on.
    assert client.get("/v1/models").status == 200


def test_a_quota_of_tokens_counts_prompt_and_answer(
    house: GeneratorHouse, client: HttpClient
) -> None:
    prompt = post(client, max_tokens=1).json["usage"]["prompt_tokens"]
    before = house.gateway.recorder.size
    with limited(house, f"{2 * prompt + 30}/hour"):
        assert post(client, max_tokens=10).status == 200
        assert post(client, max_tokens=15).status == 200
        # Five are left: none of the prompt and ten, and none of it and four, which was measured.
        for tokens in (10, 4, 1):
            found = post(client, max_tokens=tokens)
            assert (found.status, code(found)) == (429, Reason.TOKENS_SPENT)
            assert 3000 < int(found.headers["retry-after"]) <= 3600
        request = oip.ModelInferRequest(model_name="tiny")
        array = np.empty(1, object)
        array[0] = b"The"
        write_inputs(request, [Tensor.of("text_input", array)])
        for call in (
            lambda: house.inference().ModelInfer(request),
            lambda: list(house.inference().ModelStreamInfer(iter([request]))),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert reason_of(caught.value) is Reason.TOKENS_SPENT
    # Two answers, each in one part: what a quota refuses is counted alone.
    assert [entry["outcome"] for entry in house.entries(before)] == ["answered", "answered"]
    assert house.gateway._http._front_door.counted_refusals[Reason.TOKENS_SPENT.name] >= 5


def test_tokens_that_an_answer_did_not_get_are_given_back(
    house: GeneratorHouse, client: HttpClient
) -> None:
    prompt = post(client, max_tokens=1).json["usage"]["prompt_tokens"]
    with limited(house, f"{2 * prompt + 70}/minute"):
        text = text_of(post(client, max_tokens=60).json)
        house.gateway._quotas._tokens = MemoryTokens()
        # Set aside sixty, and used a few of them.
        stopped = post(client, max_tokens=60, stop=text[4:8]).json
        assert stopped["choices"][0]["finish_reason"] == "stop"
        assert post(client, max_tokens=50).status == 200


def test_a_stream_on_which_nobody_asks_ends(house: GeneratorHouse) -> None:
    over = threading.Event()

    def silent() -> Iterator[oip.ModelInferRequest]:
        over.wait(20)
        yield from ()

    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        list(house.inference().ModelStreamInfer(silent(), timeout=30))
    over.set()
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert time.monotonic() - began < 5
    until(lambda: not house.gateway._turnstile._ends)


def test_how_long_tokens_are_waited_for_is_measured(
    house: GeneratorHouse, client: HttpClient
) -> None:
    before = metrics(house)
    usage = post(client, max_tokens=9).json["usage"]
    after = metrics(house)

    def added(name: str, labels: str = "") -> float:
        key = f'{name}{{model="tiny"{labels},version="1"}}'
        return after[key] - before.get(key, 0.0)

    assert added("sealgate_first_token_seconds_count") == 1
    assert added("sealgate_next_token_seconds_count") == 8
    assert 0 < added("sealgate_first_token_seconds_sum") < 30
    assert added("sealgate_tokens_total", ',part="output"') == 9
    assert added("sealgate_tokens_total", ',part="prompt"') == usage["prompt_tokens"]
    for name in ("first", "next"):
        bound = f'sealgate_{name}_token_seconds_bucket{{le="+Inf",model="tiny",version="1"}}'
        count = f'sealgate_{name}_token_seconds_count{{model="tiny",version="1"}}'
        assert after[bound] == after[count]


def metrics(house: GeneratorHouse) -> dict[str, float]:
    connection = HTTPConnection("127.0.0.1", house.gateway.ports["metrics"], timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}
