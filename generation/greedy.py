"""The likeliest tokens by the library's plain `generate`, which what serves is held against."""

from collections.abc import Sequence

import torch
from transformers import GenerationConfig, PreTrainedModel


def generated(
    model: PreTrainedModel,
    ends: Sequence[int],
    prompt: Sequence[int],
    tokens: int,
    start: int | None = None,
) -> list[int]:
    """All ids that `generate` gives for a prompt's, with `tokens` new ones at most: those of a
    decoder begin with the prompt, those of an encoder-decoder with `start`.
    """
    settings = GenerationConfig(
        max_new_tokens=tokens,
        do_sample=False,
        decoder_start_token_id=start,
        eos_token_id=list(ends) or None,
        pad_token_id=0,
    )
    ids = torch.tensor([list(prompt)])
    with torch.inference_mode():
        found = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    answer: list[int] = found[0].tolist()
    return answer
