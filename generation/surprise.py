"""How surprising a prompt is to the model itself: what optimised suffixes have too much of.

Suffixes that an attack has searched for (GCG, Zou et al., arXiv 2307.15043) are no language, and a
model finds each of their tokens unlikely; the mean over a whole prompt hides a short one, so
windows are looked at (Jain et al., arXiv 2309.00614).
"""

import copy
import math
from collections.abc import Iterable, Sequence

import torch
from transformers import PreTrainedModel

from inference.generation import PromptScreen
from inference.screening.conformal import rank
from sealgate.reasons import Reason, Refusal

WINDOW = 16
BOUND, CONFIDENCE = 0.05, 0.9
# Logits of so many tokens are in memory at once: with large vocabularies they outweigh the model.
_PART = 64


def twin(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights under modules and a configuration of their own: while a model generates, it
    attends in another way, and what is measured with it changes.
    """
    shared = {id(each): each for each in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def score(model: PreTrainedModel, ids: Sequence[int], window: int) -> float:
    """The highest mean of -log p(token | tokens before it), in nats, over `window` tokens in a row
    of a prompt; over all of them where there are fewer, and 0.0 for a single token.
    """
    found = surprises(model, ids)
    if not len(found):
        return 0.0
    return float(found.unfold(0, min(window, len(found)), 1).mean(-1).max())


def surprises(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    """-log p(token | tokens before it), in nats, float64, of each token but the first."""
    if len(ids) < 2:
        return torch.zeros(0, dtype=torch.float64)
    tokens = torch.tensor(ids)
    with torch.inference_mode():
        hidden = model.model(input_ids=tokens[None], use_cache=False).last_hidden_state[0, :-1]
        parts = zip(hidden.split(_PART), tokens[1:].split(_PART), strict=True)
        return torch.cat([_surprise(model.lm_head(part), next_) for part, next_ in parts])


def perplexity(model: PreTrainedModel, texts: Iterable[Sequence[int]]) -> float:
    """e to the mean surprise of all tokens of texts, given as ids, but the first of each."""
    return math.exp(float(torch.cat([surprises(model, ids) for ids in texts]).mean()))


def _surprise(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """-log p of tokens [n], float64, by logits [n, vocabulary]."""
    logits = logits.double()
    return logits.logsumexp(-1) - logits.gather(-1, tokens[:, None])[:, 0]


def calibrate(
    scores: Iterable[float], window: int, bound: float = BOUND, confidence: float = CONFIDENCE
) -> PromptScreen:
    """The screen whose false alarms `bound` limits, from the scores of held-out clean prompts.

    Raises Refusal(CALIBRATION_TOO_SMALL) for too few of them; see `inference.screening.conformal`.
    """
    clean = sorted(scores, reverse=True)
    place = rank(len(clean), bound, confidence) if clean else 0
    if place == 0:
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, f"{len(clean)} prompts cannot back {bound}")
    return PromptScreen(window, clean[place - 1], bound, confidence, len(clean))
