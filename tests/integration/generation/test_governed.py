"""A language model behind the gateway: streamed, screened and recorded."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest, answer_digest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import parameters_digest
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.builders.generated import PROMPT, asked, ids_of, is_last, stream, text_of
from tests.support.harness.gateway import refusal
from tests.support.harness.generator import OUTPUT_TOKENS, GeneratorHarness
from tests.support.oracles.programs import python_with, run


def greedy(decoder: LanguageModel, prompt: str, tokens: int) -> list[int]:
    """As plain `generate` gives them."""
    ids = decoder.prompt_ids(SamplingRequest(prompt.encode(), False, Sampling(1)), 200)
    return decoder.greedy(ids, tokens)


def refused(harness: GeneratorHarness, request: oip.ModelInferRequest) -> str:
    """The reason's name, and that it is recorded and the stream goes on."""
    before = harness.gateway.recorder.size
    found = stream(harness, request, asked(max_tokens=1))
    assert [bool(message.error_message) for message in found] == [True, False]
    assert (found[0].infer_response.id, is_last(found[0].infer_response)) == ("7", True)
    reason = found[0].error_message.partition(":")[0]
    assert harness.entries(before)[0]["outcome"] == reason
    return reason


def test_tokens_come_one_by_one_and_are_generates(
    harness: GeneratorHarness, decoder: LanguageModel
) -> None:
    found = [message.infer_response for message in stream(harness, asked(max_tokens=12))]
    assert [is_last(one) for one in found] == [False] * (len(found) - 1) + [True]
    assert all(len(ids_of(one)) == 1 for one in found)
    ids = [token for one in found for token in ids_of(one)]
    assert ids == greedy(decoder, PROMPT, 12)
    text = "".join(map(text_of, found))
    assert text == decoder.tokenizer.decode(ids, skip_special_tokens=True)
    last = found[-1]
    assert (last.model_version, last.id) == ("1", "7")
    assert last.parameters["completion_tokens"].int64_param == len(ids)
    assert last.parameters["finish_reason"].string_param in ("stop", "length")


def test_one_answer_in_whole(harness: GeneratorHarness, decoder: LanguageModel) -> None:
    whole = harness.inference().ModelInfer(asked(max_tokens=12))
    (streamed,) = stream(harness, asked(max_tokens=12, stream=False))
    expected = greedy(decoder, PROMPT, 12)
    assert ids_of(whole) == ids_of(streamed.infer_response) == expected
    assert text_of(whole) == decoder.tokenizer.decode(expected, skip_special_tokens=True)


def test_the_same_seed_gives_the_same_answer(harness: GeneratorHarness) -> None:
    def drawn(seed: int) -> list[int]:
        sampling = {"max_tokens": 16, "temperature": 1.0, "top_p": 0.9, "seed": seed}
        return ids_of(harness.inference().ModelInfer(asked(**sampling)))

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_a_chat_is_answered(harness: GeneratorHarness) -> None:
    messages = json.dumps([{"role": "user", "content": PROMPT}])
    answer = harness.inference().ModelInfer(asked(messages, name="messages", max_tokens=4))
    assert len(ids_of(answer)) == 4


def test_a_stop_ends_the_answer(harness: GeneratorHarness) -> None:
    text = text_of(harness.inference().ModelInfer(asked(max_tokens=40)))
    stop = text[8:12]
    answer = harness.inference().ModelInfer(asked(max_tokens=40, stop=json.dumps([stop])))
    assert text_of(answer) == text[: text.index(stop)]
    assert answer.parameters["finish_reason"].string_param == "stop"


def test_receipts_bind_prompt_sampling_tokens_and_text(
    harness: GeneratorHarness, decoder: LanguageModel
) -> None:
    sampling = {"max_tokens": 8, "temperature": 0.7, "top_p": 0.9, "seed": 4}
    found = [one.infer_response for one in stream(harness, asked(receipt=True, **sampling))]
    policy = harness.governance("client").policy()
    opening, closing = (
        verify_receipt(Receipt.decode(one.parameters[name].string_param.encode()), policy).fields
        for one, name in ((found[0], "opening_receipt"), (found[-1], "receipt"))
    )
    prompt = PROMPT.encode()
    drawn = SamplingRequest(prompt, False, Sampling(8, 0.7, 0.9, (), 4))
    assert (opening["outcome"], closing["outcome"]) == ("opened", "answered")
    assert opening["input"] == closing["input"] == drawn.digest
    assert (opening["time"], opening["output"]) == (closing["time"], "")
    ids = [token for one in found for token in ids_of(one)]
    text = "".join(map(text_of, found)).encode()
    cut = decoder.prompt_ids(drawn, 200)
    assert closing["output"] == answer_digest(cut, ids, text)
    assert (closing["verdict"], closing["version"]) == ("clean", "1")
    for told in (opening, closing):
        assert (told["alias"], told["request_id"]) == ("production", "7")
        assert told["parameters"] == parameters_digest(asked(receipt=True, **sampling))
        assert (told["screening"], told["actions"]) == ("full", "")
    assert (opening["arithmetic"], closing["arithmetic"]) == ("", "float32")
    assert closing["version_digest"].startswith("sha256:")
    assert "score" not in closing


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": b"\xff\xfe"}, Reason.TENSOR_TEXT),
        ({"prompt": "word " * 400}, Reason.PROMPT_TOO_LONG),
        ({"max_tokens": 0}, Reason.PARAMETER_MALFORMED),
        ({"max_tokens": OUTPUT_TOKENS + 1}, Reason.PARAMETER_MALFORMED),
        ({"temperature": "hot"}, Reason.PARAMETER_MALFORMED),
        ({"stop": json.dumps(["x"] * 9)}, Reason.PARAMETER_MALFORMED),
        ({"unknown": True}, Reason.PARAMETER_MALFORMED),
        ({"nonce": "short"}, Reason.PARAMETER_MALFORMED),
        ({"prompt": "no JSON", "name": "messages"}, Reason.CHAT_MALFORMED),
        ({"name": "x"}, Reason.TENSOR_NAME),
        ({"model": "nobody"}, Reason.MODEL_UNKNOWN),
        ({"model": "Not a name"}, Reason.NAME_MALFORMED),
        ({"alias": "shadow"}, Reason.ALIAS_UNKNOWN),
    ],
)
def test_what_is_refused(harness: GeneratorHarness, change: dict[str, Any], reason: Reason) -> None:
    assert refused(harness, asked(**change)) == reason.name


def test_a_refusal_of_a_whole_answer_is_a_status(harness: GeneratorHarness) -> None:
    ask = harness.inference().ModelInfer
    assert refusal(ask, asked(b"\xff")) is Reason.TENSOR_TEXT
    assert refusal(ask, asked(max_tokens=0)) is Reason.PARAMETER_MALFORMED


def test_a_prompt_that_is_no_language_is_refused(harness: GeneratorHarness) -> None:
    letters = random.Random(1)  # noqa: S311
    noise = "".join(letters.choice("qzxjkvw#@%&~^") for _ in range(40))
    before = harness.gateway.recorder.size
    assert refused(harness, asked(f"{PROMPT} {noise}")) == Reason.ADVERSARIAL_INPUT.name
    entry = harness.entries(before)[0]
    assert entry["verdict"] == "adversarial"
    assert float(entry["score"]) > float(entry["threshold"])
    assert (entry["screening"], entry["actions"]) == ("full", "blocked")


def successes(harness: GeneratorHarness) -> int:
    """As the statistics of the model count them."""
    request = oip.ModelStatisticsRequest(name="tiny")
    (found,) = harness.inference("auditor").ModelStatistics(request).model_stats
    return found.inference_stats.success.count


def test_metadata_says_what_it_takes(harness: GeneratorHarness) -> None:
    ask = harness.inference()
    metadata = ask.ModelMetadata(oip.ModelMetadataRequest(name="tiny"))
    assert [item.name for item in metadata.inputs] == ["text_input", "messages"]
    assert [item.name for item in metadata.outputs] == ["text_output", "token_ids"]
    config = ask.ModelConfig(oip.ModelConfigRequest(name="tiny")).config
    assert config.model_transaction_policy.decoupled
    before = successes(harness)
    ask.ModelInfer(asked(max_tokens=1))
    assert successes(harness) == before + 1


def test_tritonclients_streaming_works_as_it_is(harness: GeneratorHarness) -> None:
    client = harness.profile("client")
    endpoint = client.endpoint.replace("127.0.0.1", "localhost")
    script = Path(__file__).with_name("triton_stream.py")
    done = run(
        [python_with("tritonclient"), script, endpoint, client.server_authority],
        json.dumps({"token": client.token.read_text(), "prompt": PROMPT}),
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    whole = harness.inference().ModelInfer(asked(max_tokens=12))
    assert "".join(seen["texts"]) == text_of(whole)
    assert seen["final"] == [False] * (len(seen["texts"]) - 1) + [True]
    assert seen["refused"].startswith(Reason.PARAMETER_MALFORMED.name)
