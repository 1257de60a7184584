"""A T5 behind the gateway: its prompts are nobody's to measure, all else is as for a decoder."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from generation.batching.step_batches import DecodingRows
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest, answer_digest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.builders.generated import asked, ids_of, stream, text_of
from tests.support.builders.models.tiny_translator import prompts
from tests.support.fakes.blocking_worker import until
from tests.support.harness.clients.http_client import HTTP, client_of
from tests.support.harness.generator import OUTPUT_TOKENS, GeneratorHarness, generating
from tests.support.harness.policy_changes import change

pytestmark = pytest.mark.slow

PROMPT = prompts(1)[0]


@pytest.fixture(scope="module")
def harness(
    tmp_path_factory: pytest.TempPathFactory, translator_folder: Path
) -> Iterator[GeneratorHarness]:
    state = tmp_path_factory.mktemp("state")
    with generating(state, translator_folder, HTTP, prompts(20)) as harness:
        yield harness


@pytest.fixture
def translator(harness: GeneratorHarness) -> LanguageModel:
    """As it answers: so small a model says other things with each mark."""
    decoder: LanguageModel = harness.decoder()
    return decoder


def adversarial(harness: GeneratorHarness, action: str) -> None:
    """Says in the policy what adversarial prompts lead to."""
    screen = {"verdicts": {"adversarial": action}}
    change(harness, lambda policy: policy.update(screens={"tiny": screen}))
    until(
        lambda: (
            harness.gateway.engine.policy_in_force().screen("tiny").verdicts.adversarial == action
        )
    )


@pytest.fixture
def open_harness(harness: GeneratorHarness) -> GeneratorHarness:
    """One whose policy lets pass what nobody measures."""
    if harness.gateway.engine.policy_in_force().screen("tiny").verdicts.adversarial != "flag":
        adversarial(harness, "flag")
    return harness


def question(tokens: int = 12, **parameters: Any) -> oip.ModelInferRequest:
    return asked(PROMPT, max_tokens=tokens, **parameters)


def test_unmeasured_prompts_are_refused_unless_the_policy_lets_them_pass(
    harness: GeneratorHarness,
) -> None:
    adversarial(harness, "block")
    before = harness.gateway.recorder.size
    (told,) = stream(harness, question())
    assert told.error_message.startswith(Reason.ENGINE_UNSUITABLE.name)
    assert not told.infer_response.outputs
    (entry,) = harness.entries(before)
    assert (entry["outcome"], entry["verdict"]) == (Reason.ENGINE_UNSUITABLE.name, "")
    adversarial(harness, "flag")
    assert not stream(harness, question())[-1].error_message


def test_tokens_are_generates_streamed_or_in_one(
    open_harness: GeneratorHarness, translator: LanguageModel
) -> None:
    ids = translator.prompt_ids(SamplingRequest(PROMPT.encode(), False, Sampling(1)), 96)
    expected = translator.greedy(ids, 12)
    text = translator.tokenizer.decode(expected, skip_special_tokens=True)
    parts = [message.infer_response for message in stream(open_harness, question())]
    assert [token for part in parts for token in ids_of(part)] == expected
    assert all(len(ids_of(part)) == 1 for part in parts)
    assert "".join(map(text_of, parts)) == text
    whole = open_harness.inference().ModelInfer(question())
    assert (ids_of(whole), text_of(whole)) == (expected, text)
    assert whole.parameters["prompt_tokens"].int64_param == len(ids)


def test_openais_clients_get_the_same(
    open_harness: GeneratorHarness, translator: LanguageModel
) -> None:
    ids = translator.prompt_ids(SamplingRequest(PROMPT.encode(), False, Sampling(1)), 96)
    client = client_of(open_harness)
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
    open_harness: GeneratorHarness, translator: LanguageModel
) -> None:
    found = [one.infer_response for one in stream(open_harness, question(receipt=True))]
    policy = open_harness.governance("client").policy()
    receipt = found[-1].parameters["receipt"].string_param
    told = verify_receipt(Receipt.decode(receipt.encode()), policy).fields
    prompt = SamplingRequest(PROMPT.encode(), False, Sampling(12))
    ids = [token for one in found for token in ids_of(one)]
    text = "".join(map(text_of, found)).encode()
    assert told["input"] == prompt.digest
    assert told["output"] == answer_digest(translator.prompt_ids(prompt, 96), ids, text)
    assert (told["outcome"], told["verdict"]) == ("answered", "")


def test_a_stream_that_is_cut_is_recorded_and_frees_its_row(
    open_harness: GeneratorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, before = open_harness.batches(), open_harness.gateway.recorder.size
    step, gone = DecodingRows.step, threading.Event()

    def held(rows: DecodingRows, tokens: Sequence[int]) -> torch.Tensor:
        """The first token alone, until its caller has gone."""
        if tokens != [0]:
            gone.wait()
        return step(rows, tokens)

    monkeypatch.setattr(DecodingRows, "step", held)
    call = open_harness.inference().ModelStreamInfer(iter([question(OUTPUT_TOKENS)]))
    next(call)
    call.cancel()
    until(lambda: open_harness.gateway.recorder.size == before + 2)
    gone.set()
    opened, cut = open_harness.entries(before)
    assert (opened["outcome"], cut["outcome"]) == ("opened", "cut")
    until(lambda: answers.room.free == answers.room.pages and not answers.running)
