"""Attention windows behind the gateway: published by a command, stated in records and metadata."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generation.serving.replay import answer_again
from inference.llm.request import Sampling, SamplingRequest
from sealgate.audit.completeness import note_entry
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.builders.generated import asked, ids_of
from tests.support.builders.models import tiny_decoder
from tests.support.harness.generator import GeneratorHarness

STATED = "attention windows of 24 tokens in 2 of 2 layers, 4 sink tokens"


def texts(place: Path) -> Path:
    text = tiny_decoder.texts()[1]
    place.write_text(json.dumps([text[at : at + 900] for at in range(0, 3600, 900)]))
    return place


@pytest.fixture(scope="module")
def windowed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratorHarness]:
    place = tmp_path_factory.mktemp("windowed")
    harness = GeneratorHarness(place / "state")
    harness.start_generator()
    try:
        harness.start()
        wish = ("--attention-window", "24", "--attention-kept", "80")
        long = ("--attention-texts", str(texts(place / "long.json")))
        harness.publish_generator(folder, more=(*wish, *long))
        harness.promote("tiny", 1)
        yield harness
    finally:
        harness.stop()
        harness.stop_generator()


def test_the_entry_the_receipt_and_the_metadata_state_windows(windowed: GeneratorHarness) -> None:
    before = windowed.gateway.recorder.size
    answer = windowed.inference().ModelInfer(asked(max_tokens=8, receipt=True))
    closing = windowed.entries(before)[-1]
    assert closing["outcome"] == "answered"
    assert closing["engine"].endswith(f"; {STATED}")
    receipt = Receipt.decode(answer.parameters["receipt"].string_param.encode())
    told = verify_receipt(receipt, windowed.governance("client").policy()).fields
    assert told["engine"] == closing["engine"]
    described = windowed.inference().ModelMetadata(oip.ModelMetadataRequest(name="tiny"))
    assert described.properties["engine"] == closing["engine"]


def test_counts_of_the_generator_agree_with_entries(windowed: GeneratorHarness) -> None:
    """An entry that also states windows is still known as a run of the generator."""
    before = windowed.gateway.recorder.size
    windowed.inference().ModelInfer(asked(max_tokens=2))
    found: dict[str, Any] = {}
    for entry in windowed.entries(before):
        assert note_entry(found, entry)
    assert len(found[windowed.digest()].ran) == 1


def test_the_answer_is_the_versions_again_and_not_that_of_full_attention(
    windowed: GeneratorHarness,
) -> None:
    long = " ".join(tiny_decoder.texts()[1].split(" ")[:25])
    answer = windowed.inference().ModelInfer(asked(long, max_tokens=24, receipt=True))
    receipt = Receipt.decode(answer.parameters["receipt"].string_param.encode())
    told = verify_receipt(receipt, windowed.governance("client").policy()).fields
    again = SamplingRequest(long.encode(), False, Sampling(24))
    assert windowed.generator is not None
    version = windowed.generator.host.engine.live()["tiny", "production"].ready
    agreed = answer_again(version, again, told, 60)
    assert (agreed.answer, agreed.tokens) == ("the same to its end", len(ids_of(answer)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--attention-window", "auto"), "--attention-window needs --attention-texts"),
        (("--attention-texts", "TEXTS"), "--attention-texts is for --attention-window"),
        (
            ("--attention-window", "0", "--attention-texts", "TEXTS"),
            "--attention-window is auto, or a number of tokens",
        ),
        (
            ("--attention-window", "1", "--attention-kept", "100", "--attention-texts", "TEXTS"),
            "ATTENTION_COST",
        ),
    ],
)
def test_bad_windows_are_not_published(
    windowed: GeneratorHarness, folder: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps(tiny_decoder.prompts(60)))
    found = texts(tmp_path / "long.json")
    result = windowed.command(
        *("model", "publish-generator", str(folder), "--name", "other"),
        *("--prompts", str(prompts), "--use", "tests", "--data", "manual", "--license", "PSF-2.0"),
        *("--prompt-tokens", "96", "--output-tokens", "128"),
        *(str(found) if option == "TEXTS" else option for option in options),
    )
    assert result.exit_code != 0
    assert said in f"{result.output}{result.exception}"
