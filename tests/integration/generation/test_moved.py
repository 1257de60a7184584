"""A language model's version is moved or revoked, or what runs it dies, while it answers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from generation.models.decoder import LanguageModel
from sealgate.reasons import Reason
from tests.support.builders.generated import asked, ids_of
from tests.support.builders.models import tiny_decoder
from tests.support.fakes.blocking_worker import until
from tests.support.harness.generator import OUTPUT_TOKENS, GeneratorHarness, generating

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[GeneratorHarness]:
    with generating(tmp_path_factory.mktemp("state"), folder) as harness:
        yield harness


def test_open_streams_finish_on_the_version_they_began_with(
    harness: GeneratorHarness, decoder: LanguageModel, tmp_path: Path
) -> None:
    second = tiny_decoder.make(tmp_path / "second", steps=10, seed=1)
    harness.publish_generator(second)
    expected = ids_of(harness.inference().ModelInfer(asked(max_tokens=OUTPUT_TOKENS)))
    call = harness.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    with harness.paused_after(lambda: next(call)) as first:
        harness.promote("tiny", 2)
        moved = harness.inference().ModelInfer(asked(max_tokens=8))
    found = [message.infer_response for message in (first, *call)]
    assert (found[-1].model_version, moved.model_version) == ("1", "2")
    assert [token for one in found for token in ids_of(one)] == expected
    harness.governance("admin").rollback("tiny", "production", 1, "test")
    harness.await_version("tiny", 1)
    back = harness.inference().ModelInfer(asked(max_tokens=OUTPUT_TOKENS))
    assert (back.model_version, ids_of(back)) == ("1", expected)


def test_a_generator_that_dies_is_told_of_and_comes_back(harness: GeneratorHarness) -> None:
    before = harness.gateway.recorder.size
    call = harness.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    with harness.paused_after(lambda: next(call)):
        harness.generator.grpc_server.stop(None)
        *_, told = call
    assert told.error_message.startswith(Reason.ENGINE_UNAVAILABLE.name)
    until(lambda: harness.gateway.recorder.size == before + 2)
    assert harness.entries(before)[1]["outcome"] == Reason.ENGINE_UNAVAILABLE.name
    harness.stop_generator()
    harness.start_generator()
    end, ask = time.monotonic() + 60, harness.inference()
    while True:
        (*_, found) = ask.ModelStreamInfer(iter([asked(max_tokens=4)]), timeout=60)
        if not found.error_message:
            break
        assert time.monotonic() < end, found.error_message
        time.sleep(0.1)


def test_nothing_more_leaves_of_a_version_that_is_revoked(harness: GeneratorHarness) -> None:
    before, digest = harness.gateway.recorder.size, harness.digest()
    call = harness.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    with harness.paused_after(lambda: next(call)):
        harness.governance("admin").revoke("tiny", 1, "test")
        until(lambda: harness.gateway.engine.is_revoked("tiny", digest))
    *_, told = call
    assert told.error_message.startswith(Reason.VERSION_REVOKED.name)
    assert [entry["outcome"] for entry in harness.entries(before)] == [
        "opened",
        Reason.VERSION_REVOKED.name,
    ]
