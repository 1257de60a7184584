"""An engine that had died was to begin anew; where that failed, for want of memory say, the thread
that hands answers on ended with it. Those who waited heard nothing until their deadline, nor did
anyone after them, and the process said that it was well.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from generation.batches import Batches
from generation.decoder import Decoder
from generation.settings import GenerationSettings
from inference.generation import Sampling
from sealgate.reasons import Reason, Refusal
from tests.support import tiny_decoder
from tests.support.kitchen import until


def broken(*_: Any) -> None:
    raise MemoryError("no room for a cache")


def later() -> float:
    return time.monotonic() + 60


def test_it_tries_until_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder.read(tiny_decoder.make(tmp_path / "tiny", steps=1))
    settings = GenerationSettings(tmp_path, cache_tokens=512, page_tokens=16, step_tokens=128)
    batches = Batches(decoder.model, decoder.ends, settings)
    dead, tried, opened = batches.manager, [], batches._open

    def never() -> Any:
        tried.append(time.monotonic())
        broken()

    monkeypatch.setattr(batches, "_open", never)
    with batches.answer([5, 6, 7], Sampling(200), later()) as answer:
        next(answer)
        monkeypatch.setattr(dead.batch_processor, "update_batch", broken)
        with pytest.raises(Refusal) as found:
            list(answer)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    until(lambda: len(tried) >= 2)
    with pytest.raises(Refusal) as found, batches.answer([5], Sampling(1), later()):
        raise AssertionError("it answers")
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    assert batches.room.free == batches.room.pages
    monkeypatch.setattr(batches, "_open", opened)
    until(lambda: batches._runs)
    assert batches.manager is not dead
    with batches.answer([5, 6, 7], Sampling(4), later()) as answer:
        assert list(answer)
    batches.close()
    assert not batches._thread.is_alive()


def test_it_can_be_closed_while_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder.read(tiny_decoder.make(tmp_path / "tiny", steps=1))
    settings = GenerationSettings(tmp_path, cache_tokens=512, page_tokens=16, step_tokens=128)
    batches = Batches(decoder.model, decoder.ends, settings)
    monkeypatch.setattr(batches, "_open", broken)
    with batches.answer([5, 6, 7], Sampling(200), later()) as answer:
        next(answer)
        monkeypatch.setattr(batches.manager.batch_processor, "update_batch", broken)
        with pytest.raises(Refusal):
            list(answer)
    until(lambda: not batches._runs)
    batches.close()
    assert not batches._thread.is_alive()
