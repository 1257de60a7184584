"""Golden answers are generated as answers are served, without penalties from the model's folder."""

import json
import time
from pathlib import Path

import pytest

from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest
from tests.support.builders.models import tiny_decoder

pytestmark = pytest.mark.slow


def test_golden_answers_equal_served_answers(tmp_path: Path) -> None:
    folder = tiny_decoder.make(tmp_path / "tiny", steps=0, layers=1)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"repetition_penalty": 5.0, "no_repeat_ngram_size": 1}))
    decoder = LanguageModel.read(folder)
    ids = decoder.prompt_ids(SamplingRequest(b"The import statement", False, Sampling(1)), 64)
    answers = decoder.answers(GenerationSettings(tmp_path, cache_tokens=1024), 128)
    with answers.answer(ids, Sampling(12), time.monotonic() + 60) as found:
        served = list(found)
    answers.close()
    # An untrained model says the same again and again.
    assert len(set(served)) < len(served)
    assert decoder.greedy(ids, 12) == served
