"""An answer was noted before the engine took its request. Where the engine raised an error instead,
the note stayed for as long as the process ran.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from generation.batches import Batches
from generation.decoder import Decoder
from generation.settings import GenerationSettings
from inference.generation import Sampling
from tests.support import tiny_decoder


def test_nothing_of_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder.read(tiny_decoder.make(tmp_path / "tiny", steps=1))
    batches = Batches(decoder.model, decoder.ends, GenerationSettings(tmp_path, cache_tokens=1024))

    def throws(*_: Any, **__: Any) -> None:
        raise ValueError("a word that it does not know")

    monkeypatch.setattr(batches.manager, "add_request", throws)
    with (
        pytest.raises(ValueError, match="a word"),
        batches.answer([5], Sampling(1), time.monotonic() + 60),
    ):
        raise AssertionError("it answers")
    assert not batches._answers
    assert batches.room.free == batches.room.pages
    batches.close()
