"""The material for windows: Qwen2.5-0.5B in INT8, and State of the Union addresses."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Row
from benchmarks.windows.served import full_numbers, served_perplexity
from generation.models.decoder import LanguageModel
from generation.publishing.window_choice import (
    RECALLED,
    WindowFindings,
    WindowOptions,
    choose,
    perplexity_of_halves,
)
from inference.llm.terms import INT8_INTEGER, AttentionWindows

_BUILD = Path(__file__).parents[2] / "build"
_REAL, _SPEECHES = _BUILD / "llm" / "qwen", _BUILD / "bench" / "speeches" / "package" / "data"
# A token of these texts has no more letters on average.
_LETTERS = 6
MISSING = "`make demo-llm` did not fetch the model, or npm the addresses"


def is_there() -> bool:
    """Whether the model and the addresses were fetched; `MISSING` says what to do."""
    return _REAL.exists() and _SPEECHES.exists()


@dataclass(frozen=True, slots=True)
class ChosenWindows:
    """The model with full attention and with the windows that were found, and the tokens of an
    address that chose nothing. `told` is what the report says of the choice.
    """

    full: LanguageModel
    windowed: LanguageModel
    ids: Sequence[int]
    found: WindowFindings
    told: dict[str, Any]

    @classmethod
    def of(cls, tokens: int, recalled: float = RECALLED) -> "ChosenWindows":
        """Choose and check windows as publishing does it, on two addresses of half the length."""
        full, windowed = (LanguageModel.read(_REAL, INT8_INTEGER) for _ in range(2))
        *halves, other = _addresses(tokens)
        # A few more: cut anew, a text may have one token less.
        texts = [full.tokenizer.decode(_ids(full, h)[: tokens // 2 + 16]) for h in halves]
        begun = time.perf_counter()
        found = choose(windowed, WindowOptions(texts, recalled=recalled), tokens)
        windows = {**found.as_json(), "kept_where_checked": found.kept}
        told = {"windows": windows, "choosing_s": time.perf_counter() - begun}
        print(f"{found.attention.description}: {found.recalled:.2%} recalled", flush=True)
        return cls(full, windowed, _ids(full, other)[:tokens], found, told)


def perplexity_row(
    way: str,
    decoder: LanguageModel,
    attention: AttentionWindows | None,
    ids: Sequence[int],
    full: float | None = None,
) -> Row:
    """Of one way to attend; `full` is the perplexity of full attention."""
    most = numbers = full_numbers(decoder, len(ids))
    if attention is None:
        own = perplexity_of_halves(decoder.model, [ids])
    else:
        own, numbers = served_perplexity(decoder, attention, ids)
    return {
        "way": way,
        "tokens": len(ids),
        "kv_mb": 4 * numbers / 1e6,
        "kv_share": numbers / most,
        "perplexity": own,
        "kept": (full or own) / own,
    }


def _addresses(tokens: int) -> list[str]:
    """Three addresses of so many tokens or more, from all times."""
    texts = [path.read_text() for path in sorted(_SPEECHES.glob("*.txt"))]
    long = [text for text in texts if len(text) >= _LETTERS * tokens]
    return [long[len(long) * at // 3] for at in range(3)]


def _ids(decoder: LanguageModel, text: str) -> list[int]:
    ids: list[int] = decoder.tokenizer.encode(text).ids
    return ids
