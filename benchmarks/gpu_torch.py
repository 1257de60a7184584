"""Training and generation on torch's card beside the processor, for `make bench NAME=gpu`.

An encoder of MiniLM's size descends for a few steps, and a small decoder with weights at random
answers one prompt. Both are timed after a first run, which loads kernels.
"""

import time
from collections.abc import Callable

import torch

from generation.models.architectures import greedy_tokens
from training.models.encoder import EncoderSize, TextClassifier
from training.recipe.sections import TRAIN, RecipeStep
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.runner import follow

TRAINED, TRAINED_ON_CARD = "training an encoder", "training an encoder, cuda"
SAID, SAID_ON_CARD = "generating", "generating, cuda"
_ROWS, _TOKENS, _CLASSES, _WORDS = 128, 64, 4, 1000
_ENCODER = EncoderSize(_WORDS, _TOKENS, 384, 1536, 6, 12)
_ANSWER = 64


def measured() -> dict[str, float]:
    """Milliseconds of each way, by its name; nothing where torch sees no card."""
    if not torch.cuda.is_available():
        return {}
    return {
        TRAINED: training_ms("cpu"),
        TRAINED_ON_CARD: training_ms("cuda"),
        SAID: generation_ms("cpu"),
        SAID_ON_CARD: generation_ms("cuda"),
    }


def training_ms(device: str, rows: int = _ROWS) -> float:
    """One epoch of an encoder on random texts."""
    torch.manual_seed(1)
    x, y = torch.randint(0, _WORDS, (rows, _TOKENS)), torch.arange(rows) % _CLASSES
    corpus, step = TaughtRows(TrainingBatch(x, y)), RecipeStep(TRAIN, epochs=1, batch=32)
    student = TextClassifier(_ENCODER, _CLASSES)

    def run() -> None:
        follow(step, student, corpus, 1, lambda _: lambda _: None, None, device=device)

    return _second(run)


def generation_ms(device: str, tokens: int = _ANSWER) -> float:
    """A greedy answer of so many tokens, by a decoder of 29 million weights."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=_WORDS,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=1024,
    )
    model = Qwen2ForCausalLM(config).eval().to(device)
    prompt = [at * 7 % _WORDS for at in range(128)]
    return _second(lambda: greedy_tokens(model, (), prompt, tokens))


def _second(run: Callable[[], object]) -> float:
    """Milliseconds of the second run. Both runs end on the processor, so nothing is left to do."""
    run()
    began = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - began)
