"""The screen was calibrated on plain prompts alone, so that every chat was refused where a model's
template surprises the model.
"""

import json
from pathlib import Path

from generation.decoder import Decoder
from generation.publishing import About, _clean_score
from generation.surprise import WINDOW, score
from inference.generation import Asked, Sampling
from inference.model_config import Data
from tests.support import tiny_decoder

ABOUT = About("tiny", "small", "tests", Data("Python's manual", "PSF-2.0"), 96, 64)


def test_a_clean_prompt_counts_as_the_chat_that_it_may_be(tmp_path: Path) -> None:
    decoder = Decoder.read(tiny_decoder.make(tmp_path / "tiny", steps=20))
    prompt = tiny_decoder.prompts(1)[0]
    ids = decoder.tokenizer.encode(prompt).ids
    chat = json.dumps([{"role": "user", "content": prompt}]).encode()
    written = decoder.prompt_ids(Asked(chat, True, Sampling(1)), 96)
    plain, as_chat = (score(decoder.model, each, WINDOW) for each in (ids, written))
    assert as_chat > plain
    assert _clean_score(decoder, prompt, ids, ABOUT) == as_chat
