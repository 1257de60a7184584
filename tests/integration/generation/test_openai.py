"""Language models by OpenAI's protocol: by its own client, and what callers are refused."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest, answer_digest
from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.builders.chats import MESSAGES, code, post, text_of
from tests.support.builders.generated import asked
from tests.support.harness.clients.http_client import HttpClient, client_of
from tests.support.harness.generator import OUTPUT_TOKENS, GeneratorHarness
from tests.support.oracles.programs import python_with, run

PROMPT = canonical.encode(MESSAGES)


@pytest.fixture(scope="module")
def seen(harness: GeneratorHarness) -> dict[str, Any]:
    """What OpenAI's client saw, and the `entries` that it left."""
    profile, letters = harness.profile("client"), random.Random(1)  # noqa: S311
    noise = "".join(letters.choice("qzxjkvw#@%&~^") for _ in range(40))
    before = harness.gateway.recorder.size
    done = run(
        [
            python_with("openai"),
            Path(__file__).with_name("openai_client.py"),
            f"localhost:{harness.gateway.ports['http']}",
            profile.server_authority,
        ],
        json.dumps(
            {"token": profile.token.read_text().strip(), "messages": MESSAGES, "noise": noise}
        ),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "entries": harness.entries(before)}


def test_the_answer_is_that_of_the_protocol(
    harness: GeneratorHarness, seen: dict[str, Any], decoder: LanguageModel
) -> None:
    answer = harness.inference().ModelInfer(asked(PROMPT, name="messages", max_tokens=12))
    whole = seen["whole"]
    assert text_of(whole).encode() == answer.raw_output_contents[0][4:]
    cut = decoder.prompt_ids(SamplingRequest(PROMPT, True, Sampling(1)), 200)
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
    harness: GeneratorHarness, seen: dict[str, Any], decoder: LanguageModel
) -> None:
    policy = harness.governance("client").policy()

    def fields(text: str) -> Any:
        return verify_receipt(Receipt.decode(text.encode()), policy).fields

    drawn = SamplingRequest(PROMPT, True, Sampling(12, 0.7, seed=4))
    assert seen["proven"]["sealgate"]["seed"] == 4
    found = fields(seen["proven"]["sealgate"]["receipt"])
    assert (found["input"], found["outcome"]) == (drawn.digest, "answered")
    assert found["method"] == "/inference.GRPCInferenceService/ModelStreamInfer"
    first, last = seen["chunks"][0]["sealgate"], seen["chunks"][-1]["sealgate"]
    assert fields(first["opening_receipt"])["outcome"] == "opened"
    ids = decoder.prompt_ids(drawn, 200)
    told = fields(last["receipt"])
    greedy = harness.batches()
    with greedy.answer(ids, Sampling(12), time.monotonic() + 60) as answer:
        tokens = list(answer)
    assert told["output"] == answer_digest(ids, tokens, text_of(seen["whole"]).encode())


def test_an_answer_is_a_message_of_the_next_chat(
    seen: dict[str, Any], decoder: LanguageModel
) -> None:
    answer = {"role": "assistant", "content": text_of(seen["whole"])}
    prompt = canonical.encode([*MESSAGES, answer, *MESSAGES])
    cut = decoder.prompt_ids(SamplingRequest(prompt, True, Sampling(1)), 200)
    assert seen["next"]["usage"]["prompt_tokens"] == len(cut)


def test_models(seen: dict[str, Any]) -> None:
    assert seen["models"] == ["tiny"]
    assert seen["model"] == "tiny"


@pytest.mark.parametrize(
    ("what", "kind", "reason", "param"),
    [
        ("malformed", "BadRequestError", Reason.PARAMETER_MALFORMED, "max_tokens"),
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
    harness: GeneratorHarness, client: HttpClient
) -> None:
    found = post(client, max_tokens=0, sealgate={"receipt": True})
    assert code(found) is Reason.PARAMETER_MALFORMED
    receipt = Receipt.decode(found.json["error"]["receipt"].encode())
    told = verify_receipt(receipt, harness.governance("client").policy()).fields
    assert told["outcome"] == Reason.PARAMETER_MALFORMED.name


def test_other_paths_and_callers_are_refused_in_its_form(harness: GeneratorHarness) -> None:
    assert code(client_of(harness).get("/v1/embeddings")) is Reason.PATH_UNKNOWN
    for path in ("/v1/models", "/v1/models/tiny"):
        found = HttpClient(harness).get(path)
        assert (found.status, code(found)) == (401, Reason.CREDENTIAL_MISSING)
    # Staff may see which models there are, and ask none of them.
    auditor = client_of(harness, "auditor")
    assert [model["id"] for model in auditor.get("/v1/models").json["data"]] == ["tiny"]
    found = post(auditor)
    assert (found.status, code(found)) == (403, Reason.ROLE_TOO_LOW)
