"""A language model's version is moved or revoked, or what runs it dies, while it answers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from generation.models.decoder import LanguageModel
from sealgate.reasons import Reason
from tests.support import tiny_decoder
from tests.support.generated import asked, ids_of
from tests.support.generator_house import OUTPUT_TOKENS, GeneratorHouse, generating
from tests.support.kitchen import until


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[GeneratorHouse]:
    with generating(tmp_path_factory.mktemp("state"), folder) as house:
        yield house


def test_open_streams_finish_on_the_version_they_began_with(
    house: GeneratorHouse, decoder: LanguageModel, tmp_path: Path
) -> None:
    second = tiny_decoder.make(tmp_path / "second", steps=10, seed=1)
    house.publish_generator(second)
    expected = ids_of(house.inference().ModelInfer(asked(max_tokens=OUTPUT_TOKENS)))
    call = house.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    with house.paused_after(lambda: next(call)) as first:
        house.promote("tiny", 2)
        moved = house.inference().ModelInfer(asked(max_tokens=8))
    found = [message.infer_response for message in (first, *call)]
    assert (found[-1].model_version, moved.model_version) == ("1", "2")
    assert [token for one in found for token in ids_of(one)] == expected
    house.governance("admin").rollback("tiny", "production", 1, "test")
    house.await_version("tiny", 1)
    back = house.inference().ModelInfer(asked(max_tokens=OUTPUT_TOKENS))
    assert (back.model_version, ids_of(back)) == ("1", expected)


def test_a_generator_that_dies_is_told_of_and_comes_back(house: GeneratorHouse) -> None:
    before = house.gateway.recorder.size
    call = house.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    with house.paused_after(lambda: next(call)):
        house.generator.grpc_server.stop(None)
        *_, told = call
    assert told.error_message.startswith(Reason.ENGINE_UNAVAILABLE.name)
    until(lambda: house.gateway.recorder.size == before + 2)
    assert house.entries(before)[1]["outcome"] == Reason.ENGINE_UNAVAILABLE.name
    house.stop_generator()
    house.start_generator()
    end, ask = time.monotonic() + 60, house.inference()
    while True:
        (*_, found) = ask.ModelStreamInfer(iter([asked(max_tokens=4)]), timeout=60)
        if not found.error_message:
            break
        assert time.monotonic() < end, found.error_message
        time.sleep(0.1)


def test_nothing_more_leaves_of_a_version_that_is_revoked(house: GeneratorHouse) -> None:
    before, digest = house.gateway.recorder.size, house.digest()
    call = house.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    with house.paused_after(lambda: next(call)):
        house.governance("admin").revoke("tiny", 1, "test")
        until(lambda: house.gateway.engine.is_revoked("tiny", digest))
    *_, told = call
    assert told.error_message.startswith(Reason.VERSION_REVOKED.name)
    assert [entry["outcome"] for entry in house.entries(before)] == [
        "opened",
        Reason.VERSION_REVOKED.name,
    ]
