"""A prompt's score does not depend on other answers in progress."""

import time
from pathlib import Path

import pytest

from generation.batching.causal_batches import CausalBatches
from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from generation.models.perplexity import WINDOW, float32_reference, score
from inference.llm.request import Sampling
from tests.support.builders.models import tiny_decoder

pytestmark = pytest.mark.slow


def test_a_prompt_is_measured_the_same_beside_other_answers(tmp_path: Path) -> None:
    decoder = LanguageModel.read(tiny_decoder.make(tmp_path / "tiny", steps=3))
    ids = decoder.tokenizer.encode(tiny_decoder.prompts(2)[1] * 2).ids
    measured = float32_reference(decoder.model)
    alone = score(measured, ids, WINDOW)
    batches = CausalBatches(
        decoder.model, decoder.ends, GenerationSettings(tmp_path, cache_tokens=1024)
    )
    try:
        with batches.answer(ids[:8], Sampling(60), time.monotonic() + 60) as answer:
            next(answer)
            assert {score(measured, ids, WINDOW) for _ in range(3)} == {alone}
    finally:
        batches.close()


def test_no_weight_is_held_twice(tmp_path: Path) -> None:
    decoder = LanguageModel.read(tiny_decoder.make(tmp_path / "tiny", steps=1))
    used, measured = (
        {id(each) for each in (*model.parameters(), *model.buffers())}
        for model in (decoder.model, float32_reference(decoder.model))
    )
    assert used == measured
