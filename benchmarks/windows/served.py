"""The memory and cost of a decoder's caches in attention windows, beside full attention."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.report import Row, Target
from generation.batching.attention_windows import layer_windows
from generation.batching.step_batches import WindowBatches
from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling
from inference.llm.terms import FLOAT32, AttentionWindows
from tests.support.builders.models import tiny_decoder

FULL, WINDOWED = "full", "windows"
ANSWER = 64
_SECONDS, _PIECE = 3600.0, 512
_PAGE = 32


@dataclass(frozen=True, slots=True)
class ServedRun:
    """One answer: seconds to its first token, tokens a second behind that, and how many numbers the
    cache had for it.
    """

    first: float
    rate: float
    numbers: int


def random_speeds(
    windows: AttentionWindows, tokens: int, rounds: int, width: int, layers: int
) -> list[Row]:
    """A row for each way, of a decoder of random weights on random tokens."""
    with TemporaryDirectory() as place:
        folder = tiny_decoder.make(Path(place) / "model", steps=0, width=width, layers=layers)
        full, windowed = (LanguageModel.read(folder, FLOAT32) for _ in range(2))
    windowed.attend(windows)
    drawn = torch.Generator().manual_seed(0)
    ids = torch.randint(0, tiny_decoder.VOCABULARY, (tokens,), generator=drawn).tolist()
    return _alternating(full, windowed, ids, rounds)


def _alternating(
    full: LanguageModel, windowed: LanguageModel, ids: Sequence[int], rounds: int
) -> list[Row]:
    """A row for each way, of answers to a prompt in turns, each way first as often as the other."""
    prompt = list(ids[: len(ids) - ANSWER])
    pages = math.ceil(len(ids) / _PAGE)
    settings = GenerationSettings(Path("copies"), cache_tokens=_PAGE * pages, page_tokens=_PAGE)
    ways = {FULL: full, WINDOWED: windowed}
    runs: dict[str, list[ServedRun]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in sorted(ways, reverse=bool(number % 2)):
            runs[way].append(_answered(ways[way], settings, prompt))
            print(way, runs[way][-1], flush=True)
    return [
        {
            "way": way,
            "prompt_tokens": len(prompt),
            "kv_mb": 4 * found[0].numbers / 1e6,
            "kv_share": found[0].numbers / runs[FULL][0].numbers,
            "first_s": median(run.first for run in found),
            "tokens_s": median(run.rate for run in found),
            "runs": [[run.first, run.rate] for run in found],
        }
        for way, found in runs.items()
    ]


def targets(rows: Sequence[Row]) -> list[Target]:
    """Of the rows of `random_speeds`; ratios are those of each round."""
    full, windowed = rows
    pairs = list(zip(full["runs"], windowed["runs"], strict=True))
    return [
        Target("memory of keys and values less by", 1 - windowed["kv_share"], 0.35, least=True),
        *(
            Target(name, median(ratio(*pair) for pair in pairs), 1.0, least=True)
            for name, ratio in (
                ("tokens/s of an answer beside full attention", lambda a, b: b[1] / a[1]),
                ("prompt tokens/s beside full attention", lambda a, b: a[0] / b[0]),
            )
        ),
    ]


def served_perplexity(
    decoder: LanguageModel, attention: AttentionWindows, ids: Sequence[int]
) -> tuple[float, int]:
    """Perplexity of a text's second half with nothing but what the caches of a served answer keep,
    and how many numbers they have.
    """
    model = decoder.model
    caches = [window.cache(len(ids)) for window in layer_windows(attention)]
    nats: list[torch.Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, _PIECE):
            piece = torch.tensor(ids[start : start + _PIECE])
            hidden = model.model(
                input_ids=piece[None],
                position_ids=torch.arange(start, start + len(piece))[None],
                use_cache=False,
                caches=[(slice(0, len(piece)), caches)],
            ).last_hidden_state[0]
            nats += _surprises(model, hidden, ids, start)
    return math.exp(float(torch.cat(nats).mean())), sum(cache.elements for cache in caches)


def _surprises(
    model: Any, hidden: torch.Tensor, ids: Sequence[int], start: int
) -> list[torch.Tensor]:
    """-log p of the tokens behind each of a piece, as far as they are in the second half."""
    found = []
    places = range(max(start, len(ids) // 2 - 1), min(start + len(hidden), len(ids) - 1))
    for at in range(places.start, places.stop, 64):
        part = places[at - places.start : at - places.start + 64]
        rows = torch.tensor(part)
        logits = model.lm_head(hidden[rows - start]).double()
        next_ = torch.tensor([ids[each + 1] for each in part])
        found.append(logits.logsumexp(-1) - logits.gather(-1, next_[:, None])[:, 0])
    return found


def full_numbers(decoder: LanguageModel, tokens: int, page: int = _PAGE) -> int:
    """How many numbers full attention's pages have for so many tokens."""
    config = decoder.model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * width
    return int(math.ceil(tokens / page) * page * token)


def _answered(
    decoder: LanguageModel, settings: GenerationSettings, prompt: Sequence[int]
) -> ServedRun:
    """One answer of a fixed length by the batches that serve such a version."""
    decoder.ends = ()
    longest = len(prompt) + ANSWER
    batches = decoder.answers(settings, longest)
    times, numbers = [], full_numbers(decoder, longest, settings.page_tokens)
    try:
        begun = time.perf_counter()
        until = time.monotonic() + _SECONDS
        with batches.answer(prompt, Sampling(ANSWER), until) as answer:
            for _ in answer:
                times.append(time.perf_counter())
                if len(times) == ANSWER // 2 and isinstance(batches, WindowBatches):
                    numbers = batches.elements
    finally:
        batches.close()
    return ServedRun(times[0] - begun, (len(times) - 1) / (times[-1] - times[0]), numbers)
