"""The screen was calibrated on plain prompts alone, so that every chat was refused where a model's
template surprises the model.
"""

import json
from pathlib import Path

from generation.decoder import Decoder
from generation.publishing import About, _calibrated
from generation.surprise import WINDOW, score
from inference.generation import Asked, Sampling
from inference.model_config import Data
from tests.support import tiny_decoder

ABOUT = About("tiny", "small", "tests", Data("Python's manual", "PSF-2.0"), 96, 64)


def test_a_clean_prompt_counts_as_the_chat_that_it_may_be(tmp_path: Path) -> None:
    decoder = Decoder.read(tiny_decoder.make(tmp_path / "tiny", steps=20))
    prompts = tiny_decoder.prompts(50)
    cut = [decoder.tokenizer.encode(prompt).ids for prompt in prompts]
    screen = _calibrated(decoder, prompts, cut, ABOUT)
    assert screen is not None
    plain = [score(decoder.model, ids, WINDOW, tail=screen.tail) for ids in cut]
    chats = []
    for prompt in prompts:
        chat = json.dumps([{"role": "user", "content": prompt}]).encode()
        found = decoder.cut(Asked(chat, True, Sampling(1)), 96)
        chats.append(score(decoder.model, found.ids, WINDOW, found.written, screen.tail))
    assert any(chat > alone for chat, alone in zip(chats, plain, strict=True))
    # Of fifty, the highest.
    assert screen.threshold == max(plain + chats)
