"""`make bench NAME=recall`: a decoder's attention windows as publishing chooses them by default.

As `make bench NAME=windows`, with the same model and addresses, but recall is asked for: KV heads
that look back at what was named keep all, as many as that takes. Windows are chosen and checked on
two addresses of half the length. Perplexity and recall are those of another address, which chose
nothing: of its second half, read through the caches that serve answers, and of 16 numbers that are
named in it and asked for at its end. A number is right if each of its tokens is the likeliest.
Speed is that of random weights, whose heads have the same shares of the text as windows. Full
attention has its turn in the same run. Writes results/recall.json.
"""

import argparse
import math
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.report import Row, Target, finish, show, write_report
from benchmarks.windows.material import MISSING, ChosenWindows, is_there, perplexity_row
from benchmarks.windows.served import FULL, WINDOWED, random_speeds, targets
from generation.models.decoder import LanguageModel
from generation.publishing.recall import RecallText
from generation.publishing.window_choice import RECALLED
from inference.llm.terms import WHOLE, AttentionWindows

_KEPT = 0.98
_WIDTH, _LAYERS = 512, 12
_NAMES = (
    *("Alice", "Robert", "Maria", "James", "Linda", "David", "Susan", "Peter"),
    *("Karen", "Thomas", "Nancy", "Daniel", "Laura", "Kevin", "Helen", "Brian"),
)
# Of a name and its number, in a text and behind it.
_NAME_TOKENS = 27
_COLUMNS = ("way", "tokens", "kv_mb", "kv_share", "perplexity", "kept", "right", "probability")
_SPEEDS = ("way", "prompt_tokens", "kv_share", "first_s", "tokens_s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8192, help="the length of texts")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokens = options.tokens
    if not is_there():
        finish("recall", [], [], {"recall": MISSING}, tokens=tokens)
        return
    chosen = ChosenWindows.of(tokens)
    attention, ids = chosen.found.attention, chosen.ids
    named = ids[: len(ids) - _NAME_TOKENS * len(_NAMES)]
    full = perplexity_row(FULL, chosen.full, None, ids) | told(chosen.full, named)
    windowed = perplexity_row(WINDOWED, chosen.windowed, attention, ids, full["perplexity"])
    rows = [full, windowed | told(chosen.windowed, named)]
    show(rows, _COLUMNS)
    # Speed takes minutes more: what there is by then is kept.
    write_report("recall", rows, judge(rows), tokens=tokens, **chosen.told)
    speeds = random_speeds(_in_fewer_layers(attention), tokens, options.rounds, _WIDTH, _LAYERS)
    show(speeds, _SPEEDS)
    aims = [*judge(rows), *targets(speeds)[1:]]
    finish("recall", [*rows, *speeds], aims, {}, tokens=tokens, **chosen.told)


def judge(rows: list[Row]) -> list[Target]:
    """Of the rows of both ways: what is kept in how much less memory."""
    full, windows = rows
    name = "perplexity kept on an address that chose nothing"
    return [
        Target("memory of keys and values less by", 1 - windows["kv_share"], 0.35, least=True),
        Target(name, windows["kept"], _KEPT, least=True),
        Target(
            f"numbers told right, of the {full['right']} that full attention tells",
            *(windows["right"] / full["right"], _KEPT, True),
        ),
        Target(
            "probability of the numbers, of full attention's",
            *(windows["probability"] / full["probability"], RECALLED, True),
        ),
    ]


def told(decoder: LanguageModel, ids: Sequence[int]) -> Row:
    """How many of the numbers that a text names it tells right where they are asked for, and how
    probable they are on average.
    """
    numbers = np.random.default_rng(7).integers(10_000, 100_000, len(_NAMES))
    named = {
        (at + 0.3) / len(_NAMES): (name, str(number))
        for at, (name, number) in enumerate(zip(_NAMES, numbers, strict=True))
    }
    text = RecallText.of(decoder, ids, named)
    first = min(place.start for place in text.told.values())
    model, whole = decoder.model, torch.tensor([text.ids])
    with torch.inference_mode():
        hidden = model.model(input_ids=whole, use_cache=False).last_hidden_state[0, first - 1 :]
        logs = model.lm_head(hidden).double().log_softmax(-1)
    right, probabilities = 0, []
    for place in text.told.values():
        rows, ids_ = (
            logs[place.start - first : place.stop - first],
            whole[0, place.start : place.stop],
        )
        right += bool((rows.argmax(1) == ids_).all())
        probabilities.append(math.exp(float(rows.gather(1, ids_[:, None]).sum())))
    return {"right": right, "probability": sum(probabilities) / len(probabilities)}


def _in_fewer_layers(attention: AttentionWindows) -> AttentionWindows:
    """As many KV heads in fewer layers, every so many of those of `attention`."""
    taken = [attention.of_layer(attention.layers * at // _LAYERS) for at in range(_LAYERS)]
    windows = tuple(window or WHOLE for layer in taken for window in layer)
    return AttentionWindows(attention.sink, windows, attention.heads)


if __name__ == "__main__":
    main()
