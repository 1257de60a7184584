"""A version that nobody refers to any more ends what generates for it, on whichever thread notices.
Where that was the thread which hands on its answers, in the middle of one, it waited for itself for
ever, and the process could not end.
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


class LetGo(Batches):
    """Ends as it hands on the first output."""

    def _hand_on(self, output: Any) -> None:
        with self._mutex:
            self.close()


def test_who_hands_on_answers_can_end_them(tmp_path: Path) -> None:
    decoder = Decoder.read(tiny_decoder.make(tmp_path / "tiny", steps=0))
    batches = LetGo(decoder.model, decoder.ends, GenerationSettings(tmp_path, cache_tokens=1024))
    try:
        with (
            pytest.raises(Refusal) as found,
            batches.answer([1, 2], Sampling(200), time.monotonic() + 60) as answer,
        ):
            list(answer)
        assert found.value.reason is Reason.ENGINE_UNAVAILABLE
        batches._thread.join(60)
        assert not batches._thread.is_alive()
        assert not batches.manager.is_running()
    finally:
        batches.manager.stop(block=True, timeout=60, hard_stop=True)
