"""`sealgate health` checks language models by their golden prompts."""

import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from generation.serving.generator_version import GeneratorVersion
from inference.llm.messages import AnswerPart, write_part
from inference.llm.request import Sampling, SamplingRequest, answer_digest
from sealgate.health.findings import CheckState
from sealgate.health.golden_check import GoldenCheck, GoldenTarget
from sealgate.health.golden_inputs import GoldenPrompt, GoldenPrompts
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import read_outputs
from tests.support.builders.documents.people import refused
from tests.support.builders.models import tiny_decoder
from tests.support.harness.generator import GeneratorHarness, generating

pytestmark = pytest.mark.slow

TERMS = json.dumps({"output_tokens": 4}).encode()
ANSWERS = json.dumps(
    {"answers": [{"prompt": "a walk", "prompt_ids": [7, 8], "ids": [3, 1, 4, 1, 5, 9]}]}
).encode()


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratorHarness]:
    folder = tmp_path_factory.mktemp("house")
    with generating(folder / "state", tiny_decoder.make(folder / "tiny")) as harness:
        yield harness


def golden(harness: GeneratorHarness) -> tuple[int, dict[str, Any]]:
    """The exit status, and what was found of golden answers."""
    result = harness.command("health", "--json", "--timeout", "60")
    found = {each["check"]: each for each in json.loads(result.output)["findings"]}
    return result.exit_code, found["golden"]


def test_its_golden_prompts_are_asked(harness: GeneratorHarness) -> None:
    start = harness.gateway.recorder.size
    status, found = golden(harness)
    assert status == 0, found
    assert found["numbers"]["same"] + found["numbers"]["withheld"] == 4, found
    asked = [entry for entry in harness.entries(start) if entry["model"] == "tiny"]
    assert len(asked) == 4


def test_other_tokens_are_reported_as_wrong(
    harness: GeneratorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = GeneratorVersion.pieces

    def errs(self: GeneratorVersion, *words: Any) -> Iterator[AnswerPart]:
        for piece in pieces(self, *words):
            yield replace(piece, ids=tuple(token + 1 for token in piece.ids))

    monkeypatch.setattr(GeneratorVersion, "pieces", errs)
    status, found = golden(harness)
    assert (status, found["state"]) == (1, "wrong")
    assert found["numbers"]["same"] == 0 < found["numbers"]["different"]


def test_a_receipt_is_held_against_prompt_sampling_and_tokens() -> None:
    """As the gateway binds them."""
    ((question, expected),) = GoldenPrompts.of(TERMS, ANSWERS).questions("tiny", "production", 8)
    assert isinstance(question, GoldenPrompt)
    assert question.input_digest == SamplingRequest(b"a walk", False, Sampling(4)).digest
    assert expected == (3, 1, 4, 1)
    response = oip.ModelInferResponse()
    write_part(response, AnswerPart((3, 1), b"so"))
    outputs = read_outputs(response)
    assert question.digest_of_outputs(outputs) == answer_digest((7, 8), (3, 1), b"so")


def test_a_model_for_chats_only_is_not_wrong() -> None:
    """A server of OpenAI's protocol, whose tokens nobody here sees."""

    def ask(*_: Any) -> None:
        raise SealgateError(Reason.TENSOR_NAME)

    client: Any = SimpleNamespace(ask=ask)
    check = GoldenCheck(client, client, (), 8, 1e-5, 1.0)
    found = check.run(
        GoldenTarget("m", "production", 1, "sha256:0"), GoldenPrompts.of(TERMS, ANSWERS)
    )
    assert found.state is CheckState.WELL
    assert found.detail.startswith("nothing compared")


@pytest.mark.parametrize(
    ("terms", "data"),
    [
        (b"", ANSWERS),
        (b"{}", ANSWERS),
        (b'{"output_tokens":0}', ANSWERS),
        (TERMS, b"{}"),
        (TERMS, b'{"answers":[]}'),
        (TERMS, ANSWERS.replace(b"ids", b"idz")),
    ],
)
def test_files_of_another_form_are_refused(terms: bytes, data: bytes) -> None:
    with refused(Reason.FORMAT_REFUSED):
        GoldenPrompts.of(terms, data)
