"""Screens prompts by how improbable they are to the model, which exposes optimised suffixes.

Suffixes found by an attack (GCG, Zou et al., arXiv 2307.15043) are no language, and a model finds
each of their tokens improbable. The mean over a whole prompt hides a short suffix, so windows are
measured (Jain et al., arXiv 2309.00614).

Surprise alone is not enough: without context a model is surprised by anything, so the first words
of any prompt, and short prompts as a whole, would look like an attack. Therefore:

1. A token counts by its excess: its surprise minus the expected surprise, which is the entropy of
   the prediction. On text that is like the model's own, the mean excess is 0.
2. Tokens that a template writes do not count, nor do the first that the caller wrote.
3. A sum over fewer tokens than a window has is still divided by the window, as if the others were
   as expected.
4. A long prompt has many windows, one of which stands out by chance: from its highest sum, the tail
   of clean prompts is subtracted for each factor e by which it is longer than a window.
"""

import copy
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from generation.batching.windows import installed
from inference.llm.request import PromptScreen
from inference.runtime.settings import CPU
from inference.runtime.torch_device import MPS
from inference.screening.calibration import conformal_rank
from sealgate.reasons import Reason, SealgateError

WINDOW = 16
BOUND, CONFIDENCE = 0.05, 0.9
MEASURE = (
    "highest sum of a window of the prompt, by its size, of each token's surprise less the entropy "
    "of its prediction, in nats, less the tail of clean prompts for each e times that it is longer "
    "than a window; the first four tokens and a template's are left out"
)
"""What evidence says of it."""
_OPENING = 4
# Logits of so many tokens are in memory at once: with large vocabularies they outweigh the model.
_PART = 64
# Texts of so many tokens are read at once: each run of a model reads all of its weights.
_TOGETHER = 512
Ids = Sequence[int]


def float32_reference(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights under modules and a configuration of their own: while a model generates, it
    attends in another way, and what is measured with it changes.
    """
    shared = {id(each): each for each in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


@dataclass(frozen=True, slots=True)
class SurprisePeaks:
    """The highest sum of excesses per window size, in nats, and the prompt's length in windows, at
    least 1.
    """

    highest: float
    times: float

    def less(self, tail: float) -> float:
        """What is left of it for its length, where clean heights exceed what they exceed by `tail`
        nats on average.
        """
        return self.highest - tail * math.log(self.times)


def height(
    model: PreTrainedModel, ids: Ids, window: int, written: Sequence[bool] = ()
) -> SurprisePeaks:
    """How much a prompt stands out, `window` tokens in a row of those that the caller wrote, which
    are all where nothing is said; not at all where it has no more tokens than the opening.
    """
    return heights(model, [(ids, written)], window)[0]


def heights(
    model: PreTrainedModel, prompts: Sequence[tuple[Ids, Sequence[bool]]], window: int
) -> list[SurprisePeaks]:
    """The `height` of many prompts, each with what the caller wrote."""
    texts = [(ids, _counted(ids, written)) for ids, written in prompts]
    return [_peaks(found, window) for found in _measured(model, texts, _excess)]


def _counted(ids: Ids, written: Sequence[bool]) -> list[int]:
    """The places of the tokens that count: the caller's, without the opening."""
    return [at for at, own in enumerate(written or [True] * len(ids)) if own][_OPENING:]


def _peaks(found: torch.Tensor, window: int) -> SurprisePeaks:
    if not len(found):
        return SurprisePeaks(0.0, 1.0)
    highest = float(found.unfold(0, min(window, len(found)), 1).sum(-1).max()) / window
    return SurprisePeaks(highest, max(1.0, len(found) / window))


def score(
    model: PreTrainedModel,
    ids: Ids,
    window: int,
    written: Sequence[bool] = (),
    tail: float = 0.0,
) -> float:
    """What a prompt's threshold is compared with; see `height` and `SurprisePeaks.less`."""
    return height(model, ids, window, written).less(tail)


def tail_of(highest: Sequence[float]) -> float:
    """By how much, on average, the upper half of heights exceeds their median: how soon a tail that
    falls exponentially does.
    """
    middle = statistics.median(highest)
    return statistics.fmean(max(0.0, each - middle) for each in highest) * 2


def surprises(model: PreTrainedModel, ids: Ids, start: int = 1) -> torch.Tensor:
    """-log p(token | tokens before it), in nats, float64, of each token from the one at `start` on,
    which nothing predicts at 0.
    """
    return _measured(model, [(ids, range(start, len(ids)))], _surprise)[0]


def perplexity(model: PreTrainedModel, texts: Iterable[Ids]) -> float:
    """e to the mean surprise of all tokens of texts, given as ids, but the first of each."""
    found = _measured(model, [(ids, range(1, len(ids))) for ids in texts], _surprise)
    return math.exp(float(torch.cat(found).mean()))


def _measured(
    model: PreTrainedModel,
    texts: Sequence[tuple[Ids, Sequence[int]]],
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> list[torch.Tensor]:
    """Of each text, `measure` of logits [vocabulary] and the token that followed, for the tokens at
    its places, which ascend, on the CPU; nothing predicts the one at 0.
    """
    found = [torch.zeros(0, dtype=torch.float64)] * len(texts)
    # Attention in windows takes one text.
    most = 1 if installed(model) else _TOGETHER
    for numbers in _together([places[-1] if places else 0 for _, places in texts], most):
        together = _read_together(model, [texts[number] for number in numbers], measure)
        for number, values in zip(numbers, together, strict=True):
            found[number] = values
    return found


def _together(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """The numbers of texts that are read at once: of about the same length, and padded to the
    longest no more than `most` tokens, or one. Texts of length 0 are left out.
    """
    part: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if part and (len(part) + 1) * lengths[number] > most:
            yield part
            part = []
        if lengths[number]:
            part.append(number)
    if part:
        yield part


def _read_together(
    model: PreTrainedModel,
    texts: Sequence[tuple[Ids, Sequence[int]]],
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Sequence[torch.Tensor]:
    """As `_measured`, by one run of the model. What stands behind a text is seen by none of it."""
    tokens = torch.zeros((len(texts), max(p[-1] for _, p in texts)), dtype=torch.long)
    for row, (ids, places) in zip(tokens, texts, strict=True):
        row[: places[-1]] = torch.tensor(ids[: places[-1]])
    next_ = torch.tensor([ids[at] for ids, places in texts for at in places])
    # Apple's device has no double precision.
    wide = CPU if model.device.type == MPS else model.device
    with torch.inference_mode():
        hidden = model.model(input_ids=tokens.to(model.device), use_cache=False).last_hidden_state
        rows = [row[torch.tensor(p) - 1] for row, (_, p) in zip(hidden, texts, strict=True)]
        parts = zip(torch.cat(rows).split(_PART), next_.to(wide).split(_PART), strict=True)
        # A row at a time: in double precision all would take several times the logits' room.
        values = torch.stack(
            [
                measure(row.to(wide).double(), token)
                for part, tokens_ in parts
                for row, token in zip(model.lm_head(part), tokens_, strict=True)
            ]
        )
    return values.cpu().split([len(places) for _, places in texts])


def _surprise(logits: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """-log p of a token by logits [vocabulary]."""
    return logits.logsumexp(-1) - logits[token]


def _excess(logits: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """The same, less its expectation."""
    log_p = logits.log_softmax(-1)
    return torch.dot(log_p.exp(), log_p) - log_p[token]


def calibrate(
    scores: Iterable[float],
    window: int,
    bound: float = BOUND,
    confidence: float = CONFIDENCE,
    tail: float = 0.0,
) -> PromptScreen:
    """The screen whose false alarms `bound` limits, from the scores of held-out clean prompts, for
    which `tail` was taken off.

    Raises SealgateError(CALIBRATION_TOO_SMALL) for too few of them; see
    `inference.screening.calibration`.
    """
    clean = sorted(scores, reverse=True)
    place = conformal_rank(len(clean), bound, confidence) if clean else 0
    if place == 0:
        raise SealgateError(
            Reason.CALIBRATION_TOO_SMALL, f"{len(clean)} prompts cannot back {bound}"
        )
    return PromptScreen(window, clean[place - 1], bound, confidence, len(clean), tail)
