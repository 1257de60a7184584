"""A T5 behind the gateway: its prompts are nobody's to measure, all else is as for a decoder."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from generation.batching.translation_batches import DecodingRows
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest, answer_digest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.generated import asked, ids_of, stream, text_of
from tests.support.generator_house import OUTPUT_TOKENS, GeneratorHouse, generating
from tests.support.http_client import HTTP, client_of
from tests.support.kitchen import until
from tests.support.succession import change
from tests.support.tiny_translator import prompts

PROMPT = prompts(1)[0]


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, translator_folder: Path
) -> Iterator[GeneratorHouse]:
    state = tmp_path_factory.mktemp("state")
    with generating(state, translator_folder, HTTP, prompts(20)) as house:
        yield house


@pytest.fixture
def translator(house: GeneratorHouse) -> LanguageModel:
    """As it answers: so small a model says other things with each mark."""
    decoder: LanguageModel = house.decoder()
    return decoder


def adversarial(house: GeneratorHouse, action: str) -> None:
    """Says in the policy what adversarial prompts lead to."""
    screen = {"verdicts": {"adversarial": action}}
    change(house, lambda policy: policy.update(screens={"tiny": screen}))
    until(lambda: house.gateway.policy().screen("tiny").verdicts.adversarial == action)


@pytest.fixture
def open_house(house: GeneratorHouse) -> GeneratorHouse:
    """One whose policy lets pass what nobody measures."""
    if house.gateway.policy().screen("tiny").verdicts.adversarial != "flag":
        adversarial(house, "flag")
    return house


def question(tokens: int = 12, **parameters: Any) -> oip.ModelInferRequest:
    return asked(PROMPT, max_tokens=tokens, **parameters)


def test_unmeasured_prompts_are_refused_unless_the_policy_lets_them_pass(
    house: GeneratorHouse,
) -> None:
    adversarial(house, "block")
    before = house.gateway.recorder.size
    (told,) = stream(house, question())
    assert told.error_message.startswith(Reason.ENGINE_UNSUITABLE.name)
    assert not told.infer_response.outputs
    (entry,) = house.entries(before)
    assert (entry["outcome"], entry["verdict"]) == (Reason.ENGINE_UNSUITABLE.name, "")
    adversarial(house, "flag")
    assert not stream(house, question())[-1].error_message


def test_tokens_are_generates_streamed_or_in_one(
    open_house: GeneratorHouse, translator: LanguageModel
) -> None:
    ids = translator.prompt_ids(SamplingRequest(PROMPT.encode(), False, Sampling(1)), 96)
    expected = translator.greedy(ids, 12)
    text = translator.tokenizer.decode(expected, skip_special_tokens=True)
    parts = [message.infer_response for message in stream(open_house, question())]
    assert [token for part in parts for token in ids_of(part)] == expected
    assert all(len(ids_of(part)) == 1 for part in parts)
    assert "".join(map(text_of, parts)) == text
    whole = open_house.inference().ModelInfer(question())
    assert (ids_of(whole), text_of(whole)) == (expected, text)
    assert whole.parameters["prompt_tokens"].int64_param == len(ids)


def test_openais_clients_get_the_same(
    open_house: GeneratorHouse, translator: LanguageModel
) -> None:
    ids = translator.prompt_ids(SamplingRequest(PROMPT.encode(), False, Sampling(1)), 96)
    client = client_of(open_house)
    message = {"role": "user", "content": PROMPT}
    document = {"model": "tiny", "messages": [message], "max_tokens": 12}
    seen = client.post("/v1/chat/completions", document)
    client.close()
    assert seen.status == 200, seen.json
    found = seen.json["choices"][0]["message"]["content"]
    expected = translator.greedy(ids, 12)
    assert found == translator.tokenizer.decode(expected, skip_special_tokens=True)
    assert seen.json["usage"]["prompt_tokens"] == len(ids)


def test_receipts_bind_prompt_and_answer(
    open_house: GeneratorHouse, translator: LanguageModel
) -> None:
    found = [one.infer_response for one in stream(open_house, question(receipt=True))]
    policy = open_house.governance("client").policy()
    receipt = found[-1].parameters["receipt"].string_param
    told = verify_receipt(Receipt.decode(receipt.encode()), policy).fields
    prompt = SamplingRequest(PROMPT.encode(), False, Sampling(12))
    ids = [token for one in found for token in ids_of(one)]
    text = "".join(map(text_of, found)).encode()
    assert told["input"] == prompt.digest
    assert told["output"] == answer_digest(translator.prompt_ids(prompt, 96), ids, text)
    assert (told["outcome"], told["verdict"]) == ("answered", "")


def test_a_stream_that_is_cut_is_recorded_and_frees_its_row(
    open_house: GeneratorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, before = open_house.batches(), open_house.gateway.recorder.size
    step, gone = DecodingRows.step, threading.Event()

    def held(rows: DecodingRows, tokens: Sequence[int]) -> torch.Tensor:
        """The first token alone, until its caller has gone."""
        if tokens != [0]:
            gone.wait()
        return step(rows, tokens)

    monkeypatch.setattr(DecodingRows, "step", held)
    call = open_house.inference().ModelStreamInfer(iter([question(OUTPUT_TOKENS)]))
    next(call)
    call.cancel()
    until(lambda: open_house.gateway.recorder.size == before + 2)
    gone.set()
    opened, cut = open_house.entries(before)
    assert (opened["outcome"], cut["outcome"]) == ("opened", "cut")
    until(lambda: answers.room.free == answers.room.pages and not answers.running)
