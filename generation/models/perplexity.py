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

Versions that are published now join surprise and entropy with what tokens look like
(`generation.models.suffixes`) in place of 1; what 2 to 4 say holds for them too.
"""

import copy
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from generation.batching.attention_windows import installed
from generation.models.suffixes import JoinedMeasure
from inference.llm.terms import PromptScreen, SuffixWeights
from inference.runtime.providers import MPS
from inference.runtime.settings import CPU
from inference.screening.calibration import conformal_rank
from sealgate.reasons import Reason, SealgateError

WINDOW = 20
BOUND, CONFIDENCE = 0.05, 0.9
MEASURE = (
    "highest of a prompt's windows by the weights of surprise, entropy and what tokens look like, "
    "less the tail of clean prompts for each e times that it is longer than a window; the first "
    "four tokens and a template's are left out"
)
"""The description of the measure in evidence."""
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
        """The height less the correction for the prompt's length; `tail` is the mean excess of
        clean heights, in nats (`tail_of`).
        """
        return self.highest - tail * math.log(self.times)


def height(
    model: PreTrainedModel,
    ids: Ids,
    window: int,
    written: Sequence[bool] = (),
    joined: JoinedMeasure | None = None,
) -> SurprisePeaks:
    """How much a prompt stands out, `window` tokens in a row of those that the caller wrote, which
    are all where nothing is said; not at all where it has no more tokens than the opening.
    """
    (found,) = series(model, [(ids, written)])
    return found.peaks(window, joined)


@dataclass(frozen=True, slots=True)
class SurpriseSeries:
    """Surprise and entropy `measured` [n, 2], in nats, float64, of the tokens of `ids` at `places`,
    those that count.
    """

    ids: Ids
    places: Sequence[int]
    measured: torch.Tensor

    def peaks(self, window: int, joined: JoinedMeasure | None = None) -> SurprisePeaks:
        """Its highest window, by the classifier where there is one."""
        count = len(self.places)
        if not count:
            return SurprisePeaks(0.0, 1.0)
        if joined is None:
            excess = self.measured[:, 0] - self.measured[:, 1]
            highest = float(excess.unfold(0, min(window, count), 1).sum(-1).max()) / window
        else:
            highest = float(joined.scores(self.ids, self.places, self.measured, window).max())
        return SurprisePeaks(highest, max(1.0, count / window))


def series(
    model: PreTrainedModel, prompts: Sequence[tuple[Ids, Sequence[bool]]]
) -> list[SurpriseSeries]:
    """Of many prompts, each with what the caller wrote, all where nothing is said."""
    texts = [(ids, _counted(ids, written)) for ids, written in prompts]
    found = _measured(model, texts, _surprise_and_entropy)
    return [SurpriseSeries(*text, each) for text, each in zip(texts, found, strict=True)]


def _counted(ids: Ids, written: Sequence[bool]) -> list[int]:
    """The places of the tokens that count: the caller's, without the opening."""
    return [at for at, own in enumerate(written or [True] * len(ids)) if own][_OPENING:]


def score(
    model: PreTrainedModel,
    ids: Ids,
    window: int,
    written: Sequence[bool] = (),
    tail: float = 0.0,
    joined: JoinedMeasure | None = None,
) -> float:
    """The number that is compared with a prompt's threshold; see `height`, `SurprisePeaks.less`."""
    return height(model, ids, window, written, joined).less(tail)


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
    found = [torch.zeros(0, dtype=torch.float64, device=CPU)] * len(texts)
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
    """As `_measured`, by one run of the model. No text sees what follows it."""
    longest = max(places[-1] for _, places in texts)
    padded = [[*ids[: p[-1]], *[0] * (longest - p[-1])] for ids, p in texts]
    tokens = torch.tensor(padded, device=model.device)
    before = [torch.tensor([at - 1 for at in p], device=model.device) for _, p in texts]
    # Apple's device has no double precision.
    wide = CPU if model.device.type == MPS else model.device
    next_ = torch.tensor([ids[at] for ids, p in texts for at in p], device=wide)
    with torch.inference_mode():
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state
        rows = [row[at] for row, at in zip(hidden, before, strict=True)]
        parts = zip(torch.cat(rows).split(_PART), next_.split(_PART), strict=True)
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


def _surprise_and_entropy(logits: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """The same, and its expectation [2]."""
    log_p = logits.log_softmax(-1)
    return torch.stack([-log_p[token], -torch.dot(log_p.exp(), log_p)])


def calibrate(
    scores: Iterable[float],
    window: int,
    bound: float = BOUND,
    tail: float = 0.0,
    weights: SuffixWeights | None = None,
) -> PromptScreen:
    """The screen whose false alarms `bound` limits, from the scores of held-out clean prompts, for
    which `tail` was taken off, as `weights` have it.

    Raises SealgateError(CALIBRATION_TOO_SMALL) for too few of them; see
    `inference.screening.calibration`.
    """
    clean = sorted(scores, reverse=True)
    place = conformal_rank(len(clean), bound, CONFIDENCE) if clean else 0
    if place == 0:
        raise SealgateError(
            Reason.CALIBRATION_TOO_SMALL, f"{len(clean)} prompts cannot back {bound}"
        )
    return PromptScreen(window, clean[place - 1], bound, CONFIDENCE, len(clean), tail, weights)
