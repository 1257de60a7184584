"""Chooses the attention windows of a version by measurement, on texts as long as it may be asked.

A window may be small in a layer whose tokens look at their neighbours, and must be large where
attention is spread: its entropy is high there, and much of it falls outside of small windows. So
each layer gets the smallest window outside of which no more than a share of its attention falls,
and the share is the largest with which perplexity is kept. One share is right for all layers, not
one for all heads: nearly every layer has a head that looks everywhere, most of which tells little.
Perplexity is that of each text's second half, where windows tell.

Perplexity may be kept where nothing is recalled that was said far before, so recall is measured as
well (`generation.publishing.recall`), of what full attention recalls with a probability of a half.
Few KV heads look back at what was named: as many as recall needs keep all, and the others keep the
windows of their layers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from generation.models.attention_reach import WatchedLayers
from generation.models.decoder import LanguageModel
from generation.models.perplexity import surprises
from generation.publishing.recall import knows_any, looking_back, recall, share_recalled
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import WHOLE, AttentionWindows
from sealgate.reasons import Reason, SealgateError

SINK, KEPT, RECALLED = 4, 0.98, 0.9
"""Sink tokens, and the shares of full attention's perplexity and recall that are kept, unless told.
"""
_SMALLEST = 16
# Shares of attention that may fall outside, from 0.8 down to 0.004.
_SHARES = [0.8 * 0.7**number for number in range(16)]
# Of so many queries of a text attention is looked at.
_LOOKED_AT = 64
# Of a text, the least share that heads see where recall is asked for: what is looked up later is
# written with smaller windows as well, and then not found.
_NEAR = 16
# No text of fewer tokens says anything about windows.
_SHORTEST = 4 * _SMALLEST


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """A publisher's options for attention windows: all of size `tokens`, or measured if it is None.

    Half of the `texts` serve to choose windows and half to check them. With `recalled` 0, recall is
    measured but not required.
    """

    texts: Sequence[str]
    tokens: int | None = None
    sink: int = SINK
    kept: float = KEPT
    recalled: float = RECALLED


@dataclass(frozen=True, slots=True)
class LayerSpread:
    """How far attention of one layer reaches: its mean `entropy` in nats, and by size of window the
    share that falls outside of it and of the sinks.
    """

    entropy: float
    outside: dict[int, float]

    def window(self, share: float) -> int:
        """The smallest outside of which no more than that share falls."""
        return next((size for size, out in self.outside.items() if out <= share), WHOLE)


@dataclass(frozen=True, slots=True)
class WindowFindings:
    """The measurements: perplexities `full` and `windowed` on the checking texts of `tokens`
    tokens, the length of the `longest` text, each layer's reach, and recall on the first checking
    text.
    """

    attention: AttentionWindows
    longest: int
    tokens: int
    full: float
    windowed: float
    layers: tuple[LayerSpread, ...]
    recall_full: dict[float, float]
    recall_windows: dict[float, float]

    @property
    def kept(self) -> float:
        """Full attention's perplexity by that of windows: 1 where nothing is lost."""
        return self.full / self.windowed

    @property
    def recalled(self) -> float:
        """The least share of what full attention recalls."""
        return share_recalled(self.recall_full, self.recall_windows)

    def as_json(self) -> dict[str, object]:
        """For evidence."""
        attention = self.attention
        return {
            **attention.as_json(),
            "longest_text": self.longest,
            "measured_tokens": self.tokens,
            "perplexity_full": self.full,
            "perplexity_windows": self.windowed,
            "memory_share": attention.equivalent(self.longest) / self.longest,
            "recall_full": _by_place(self.recall_full),
            "recall_windows": _by_place(self.recall_windows),
            "entropy": [layer.entropy for layer in self.layers],
            "outside": [
                self.layers[place // attention.heads].outside.get(window, 0.0)
                for place, window in enumerate(attention.windows)
            ],
        }


def choose(decoder: LanguageModel, wish: WindowOptions, longest: int) -> WindowFindings:
    """Windows for texts of at most `longest` tokens; the decoder attends in them afterwards.

    1. There is a text to choose and one to check by, long enough to tell (CALIBRATION_TOO_SMALL).
    2. Attention is looked at, and windows are chosen, half of what may be lost being spent, on the
       texts that choose (ATTENTION_COST where none save anything).
    3. On the other texts as much perplexity and recall is kept as is wished (ATTENTION_COST).

    Raises too: ENGINE_UNSUITABLE for a model that has no windows.
    """
    # 1.
    texts = long_texts(decoder, wish.texts, longest)
    choosing, checking = texts[::2], texts[1::2]
    # 2.
    full, recalls = perplexity_of_halves(decoder.model, checking), recall(decoder, checking[0])
    spread = _spread(decoder, choosing, wish)
    attention = (
        _uniform(spread, wish) if wish.tokens else _measured(decoder, choosing, spread, wish)
    )
    # 3.
    decoder.attend(attention)
    windowed = perplexity_of_halves(decoder.model, checking)
    tokens = sum(len(ids) - len(ids) // 2 for ids in checking)
    longest, again = max(map(len, texts)), recall(decoder, checking[0])
    found = WindowFindings(attention, longest, tokens, full, windowed, spread, recalls, again)
    if found.kept < wish.kept:
        raise SealgateError(
            Reason.ATTENTION_COST, f"{found.kept:.2%} of perplexity is kept, not {wish.kept:.2%}"
        )
    if found.recalled < wish.recalled:
        raise SealgateError(
            Reason.ATTENTION_COST, f"{found.recalled:.2%} is recalled, not {wish.recalled:.2%}"
        )
    return found


def long_texts(
    decoder: LanguageModel, texts: Sequence[str], longest: int
) -> Sequence[Sequence[int]]:
    """The ids of texts that are half as long as a request may be, or longer, cut to `longest`.

    Raises: ENGINE_UNSUITABLE, CALIBRATION_TOO_SMALL; TENSOR_TEXT for a text that is no prompt.
    """
    if not decoder.measures:
        raise SealgateError(Reason.ENGINE_UNSUITABLE, "only decoders have attention windows")
    asked = [SamplingRequest(text.encode(), False, Sampling(1)) for text in texts]
    cut = [decoder.prompt_ids(each, len(each.prompt))[:longest] for each in asked]
    least = max(_SHORTEST, longest // 2)
    found = [ids for ids in cut if len(ids) >= least]
    if len(found) < 2:
        raise SealgateError(
            Reason.CALIBRATION_TOO_SMALL, f"{len(found)} texts of {least} tokens or more"
        )
    return found


def perplexity_of_halves(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> float:
    """Perplexity of the second half of each text, the first being read before it."""
    found = [surprises(model, ids, len(ids) // 2) for ids in texts]
    return math.exp(float(torch.cat(found).mean()))


def _by_place(found: dict[float, float]) -> dict[str, float]:
    return {f"{share:.0%}": probability for share, probability in found.items()}


def _spread(
    decoder: LanguageModel, texts: Sequence[Sequence[int]], wish: WindowOptions
) -> tuple[LayerSpread, ...]:
    """Of each layer, with full attention, on queries of the second halves."""
    longest = max(map(len, texts))
    steps = range(longest.bit_length())
    sizes = [size for at in steps for size in (_SMALLEST << at, 3 * _SMALLEST << at >> 1)]
    sizes = [size for size in sizes if size + wish.sink < longest]
    entropies, outside = [], []
    for ids in texts:
        step = max(1, len(ids) // 2 // _LOOKED_AT)
        watched = WatchedLayers(range(len(ids) // 2, len(ids), step), wish.sink, sizes)
        watched.read(decoder.model, ids)
        entropies.append(watched.entropies)
        outside.append(watched.outside)
    means = zip(torch.stack(entropies).mean(0), torch.stack(outside).mean(0), strict=True)
    return tuple(
        LayerSpread(float(entropy), dict(zip(sizes, map(float, shares), strict=True)))
        for entropy, shares in means
    )


def _uniform(spread: Sequence[LayerSpread], wish: WindowOptions) -> AttentionWindows:
    return AttentionWindows(wish.sink, (wish.tokens or WHOLE,) * len(spread))


def _measured(
    decoder: LanguageModel,
    texts: Sequence[Sequence[int]],
    spread: Sequence[LayerSpread],
    wish: WindowOptions,
) -> AttentionWindows:
    """The windows of the largest share with which half of the perplexity that may be lost is; and
    where recall is wished, with all kept by as few KV heads as lose a quarter of what may be lost
    of it: on another text they lose more.
    """
    recalls = recall(decoder, texts[0]) if wish.recalled else {}
    looks = looking_back(decoder, texts[0]) if knows_any(recalls) else []
    windows = _by_perplexity(decoder, texts, spread, wish)
    if not any(windows):
        raise SealgateError(Reason.ATTENTION_COST, f"no windows keep {wish.kept:.2%} of perplexity")
    if not looks:
        return AttentionWindows(wish.sink, windows)

    def keeps(tried: AttentionWindows) -> bool:
        decoder.attend(tried)
        return share_recalled(recalls, recall(decoder, texts[0])) >= (3 + wish.recalled) / 4

    near = tuple(window and max(window, len(texts[0]) // _NEAR) for window in windows)
    found = _with_whole(near, looks, wish.sink, keeps)
    if found is None:
        raise SealgateError(
            Reason.ATTENTION_COST,
            f"no windows keep {wish.kept:.2%} of perplexity and {wish.recalled:.0%} of recall",
        )
    return found


def _by_perplexity(
    decoder: LanguageModel,
    texts: Sequence[Sequence[int]],
    spread: Sequence[LayerSpread],
    wish: WindowOptions,
) -> tuple[int, ...]:
    """Those of the largest share that keeps it, by bisection: more attention inside loses less."""
    allowed = perplexity_of_halves(decoder.model, texts) / (1 - (1 - wish.kept) / 2)

    def windows(number: int) -> tuple[int, ...]:
        return tuple(layer.window(_SHARES[number]) for layer in spread)

    def keeps(number: int) -> bool:
        tried = windows(number)
        # Nor are there any for smaller shares.
        if not any(tried):
            return True
        decoder.attend(AttentionWindows(wish.sink, tried))
        return perplexity_of_halves(decoder.model, texts) <= allowed

    least = _least(len(_SHARES), keeps)
    return () if least is None else windows(least)


def _with_whole(
    windows: Sequence[int],
    looks: Sequence[Sequence[float]],
    sink: int,
    keeps: Callable[[AttentionWindows], bool],
) -> AttentionWindows | None:
    """The windows of layers with all kept by as few KV heads as `keeps` asks for, those that look
    back most before others; None where only all of them would do.
    """
    heads = len(looks[0])
    shares = [share for layer in looks for share in layer]
    order = sorted(range(len(shares)), key=lambda place: -shares[place])
    least = [window for window in windows for _ in range(heads)]

    def tried(count: int) -> AttentionWindows | None:
        whole = set(order[:count])
        found = tuple(WHOLE if at in whole else window for at, window in enumerate(least))
        return AttentionWindows(sink, found, heads) if any(found) else None

    def does(count: int) -> bool:
        each = tried(count)
        return each is None or keeps(each)

    count = _least(len(least), does)
    return None if count is None else tried(count)


def _least(count: int, keeps: Callable[[int], bool]) -> int | None:
    """The least number below `count` that keeps, where all above one that does keep as well."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if keeps(middle):
            high = middle
        else:
            low = middle + 1
    return low if low < count else None
