"""A generation engine that fails is restarted until it works, and leaves no waiting caller
behind.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from generation.batching.causal_batches import CausalBatches
from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import tiny_decoder
from tests.support.fakes.blocking_worker import until

pytestmark = pytest.mark.slow


def broken(*_: Any) -> None:
    raise MemoryError("no room for a cache")


def later() -> float:
    return time.monotonic() + 60


def test_a_restart_is_tried_until_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = LanguageModel.read(tiny_decoder.make(tmp_path / "tiny", steps=1))
    settings = GenerationSettings(tmp_path, cache_tokens=512, page_tokens=16, step_tokens=128)
    batches = CausalBatches(decoder.model, decoder.ends, settings)
    dead, tried, opened = batches.manager, [], batches.open_manager

    def never() -> Any:
        tried.append(time.monotonic())
        broken()

    monkeypatch.setattr(batches, "open_manager", never)
    with batches.answer([5, 6, 7], Sampling(200), later()) as answer:
        next(answer)
        monkeypatch.setattr(dead.batch_processor, "update_batch", broken)
        with pytest.raises(SealgateError) as found:
            list(answer)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    until(lambda: len(tried) >= 2)
    with pytest.raises(SealgateError) as found, batches.answer([5], Sampling(1), later()):
        raise AssertionError("it answers")
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    assert batches.room.free == batches.room.pages
    monkeypatch.setattr(batches, "open_manager", opened)
    until(lambda: batches.runs)
    assert batches.manager is not dead
    with batches.answer([5, 6, 7], Sampling(4), later()) as answer:
        assert list(answer)
    batches.close()
    assert not batches.thread.is_alive()


def test_an_engine_that_cannot_restart_can_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = LanguageModel.read(tiny_decoder.make(tmp_path / "tiny", steps=1))
    settings = GenerationSettings(tmp_path, cache_tokens=512, page_tokens=16, step_tokens=128)
    batches = CausalBatches(decoder.model, decoder.ends, settings)
    monkeypatch.setattr(batches, "open_manager", broken)
    with batches.answer([5, 6, 7], Sampling(200), later()) as answer:
        next(answer)
        monkeypatch.setattr(batches.manager.batch_processor, "update_batch", broken)
        with pytest.raises(SealgateError):
            list(answer)
    until(lambda: not batches.runs)
    batches.close()
    assert not batches.thread.is_alive()


def test_a_request_the_engine_refused_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = LanguageModel.read(tiny_decoder.make(tmp_path / "tiny", steps=1))
    batches = CausalBatches(
        decoder.model, decoder.ends, GenerationSettings(tmp_path, cache_tokens=1024)
    )

    def throws(*_: Any, **__: Any) -> None:
        raise ValueError("a word that it does not know")

    monkeypatch.setattr(batches.manager, "add_request", throws)
    with (
        pytest.raises(ValueError, match="a word"),
        batches.answer([5], Sampling(1), time.monotonic() + 60),
    ):
        raise AssertionError("it answers")
    assert not batches.answers
    assert batches.room.free == batches.room.pages
    batches.close()


class LetGo(CausalBatches):
    """Ends as it hands on the first output."""

    def hand_on(self, output: Any) -> None:
        with self.mutex:
            self.close()


def test_the_delivering_thread_can_close_the_engine(tmp_path: Path) -> None:
    decoder = LanguageModel.read(tiny_decoder.make(tmp_path / "tiny", steps=0))
    batches = LetGo(decoder.model, decoder.ends, GenerationSettings(tmp_path, cache_tokens=1024))
    try:
        with (
            pytest.raises(SealgateError) as found,
            batches.answer([1, 2], Sampling(200), time.monotonic() + 60) as answer,
        ):
            list(answer)
        assert found.value.reason is Reason.ENGINE_UNAVAILABLE
        batches.thread.join(60)
        assert not batches.thread.is_alive()
        assert not batches.manager.is_running()
    finally:
        batches.manager.stop(block=True, timeout=60, hard_stop=True)
