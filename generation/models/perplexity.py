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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

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
    model: PreTrainedModel, ids: Sequence[int], window: int, written: Sequence[bool] = ()
) -> SurprisePeaks:
    """How much a prompt stands out, `window` tokens in a row of those that the caller wrote, which
    are all where nothing is said; not at all where it has no more tokens than the opening.
    """
    counted = [at for at, own in enumerate(written or [True] * len(ids)) if own][_OPENING:]
    if not counted:
        return SurprisePeaks(0.0, 1.0)
    found = _measured(model, ids, counted, _excess)
    highest = float(found.unfold(0, min(window, len(found)), 1).sum(-1).max()) / window
    return SurprisePeaks(highest, max(1.0, len(found) / window))


def score(
    model: PreTrainedModel,
    ids: Sequence[int],
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


def surprises(model: PreTrainedModel, ids: Sequence[int], start: int = 1) -> torch.Tensor:
    """-log p(token | tokens before it), in nats, float64, of each token from the one at `start` on,
    which nothing predicts at 0.
    """
    return _measured(model, ids, range(start, len(ids)), _surprise)


def perplexity(model: PreTrainedModel, texts: Iterable[Sequence[int]]) -> float:
    """e to the mean surprise of all tokens of texts, given as ids, but the first of each."""
    return math.exp(float(torch.cat([surprises(model, ids) for ids in texts]).mean()))


def _measured(
    model: PreTrainedModel,
    ids: Sequence[int],
    places: Sequence[int],
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """`measure` of logits [vocabulary] and the token that followed, for the tokens at `places`,
    which ascend, on the CPU; nothing predicts the one at 0.
    """
    if not places:
        return torch.zeros(0, dtype=torch.float64)
    tokens = torch.tensor(ids[: places[-1] + 1], device=model.device)
    at = torch.tensor(places, device=model.device)
    # Apple's device has no double precision.
    wide = CPU if model.device.type == MPS else model.device
    with torch.inference_mode():
        hidden = model.model(input_ids=tokens[None], use_cache=False).last_hidden_state[0]
        parts = zip(hidden[at - 1].split(_PART), tokens[at].split(_PART), strict=True)
        # A row at a time: in double precision all would take several times the logits' room.
        return torch.stack(
            [
                measure(row.to(wide).double(), token.to(wide))
                for part, next_ in parts
                for row, token in zip(model.lm_head(part), next_, strict=True)
            ]
        ).cpu()


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
