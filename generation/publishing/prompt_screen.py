"""Calibrates the screen for prompts of a language model on the publisher's clean ones.

1. Each prompt is measured in both forms in which it may come, as text and as a chat, and as text
   with a suffix drawn at random behind it.
2. The prompts are dealt into `_FOLDS` parts. Each is scored by a classifier that is fitted without
   that part, as later prompts are scored by one that has not seen them.
3. Of these scores one becomes the threshold (`inference.screening.calibration`), for the least
   bound that so many prompts back. The classifier that is signed is fitted to all.

With prompts for the loosest bound alone there is no classifier; see `PromptScreen`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from generation.models.decoder import LanguageModel
from generation.models.perplexity import (
    BOUND,
    CONFIDENCE,
    WINDOW,
    SurprisePeaks,
    SurpriseSeries,
    calibrate,
    series,
    tail_of,
)
from generation.models.suffixes import (
    JoinedMeasure,
    fit,
    noise,
    printable,
    shapes_of,
    window_features,
)
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import PromptScreen, SuffixWeights
from inference.screening.calibration import conformal_rank
from sealgate.reasons import Reason, SealgateError

_BOUNDS = (0.01, 0.02, BOUND)
_FOLDS = 5
# So many prompts get suffixes; of a suffix's windows, those with most of it.
_SUFFIXED, _LAST = 100, 4
# A classifier is fitted to no fewer windows.
_FEWEST = 16


@dataclass(frozen=True, slots=True)
class _Measured:
    """A prompt in each of its forms, and with a suffix, each with what its tokens look like."""

    forms: Sequence[tuple[SurpriseSeries, torch.Tensor]]
    suffixed: tuple[SurpriseSeries, torch.Tensor] | None

    def peaks(self, weights: SuffixWeights | None) -> list[SurprisePeaks]:
        """Of each form."""
        return [
            found.peaks(WINDOW, None if weights is None else JoinedMeasure(weights, shapes))
            for found, shapes in self.forms
        ]


def calibrated_screen(
    decoder: LanguageModel,
    prompts: Sequence[str],
    cut: Sequence[Sequence[int]],
    prompt_tokens: int,
) -> PromptScreen | None:
    """The screen, by clean prompts of at most `prompt_tokens`, each as the higher of both forms in
    which it may come; None where the model does not say how likely a prompt is.

    Raises: CALIBRATION_TOO_SMALL.
    """
    if not decoder.measures:
        return None
    if not prompts:
        raise SealgateError(Reason.CALIBRATION_TOO_SMALL, "no prompts")
    measured = _measured(decoder, prompts, cut, prompt_tokens)
    bound = next((b for b in _BOUNDS if conformal_rank(len(prompts), b, CONFIDENCE)), BOUND)
    # To fewer prompts a classifier of looks is fitted so closely that others alarm it.
    fitted = _fitted if bound < BOUND else _unfitted
    parts = [measured[start::_FOLDS] for start in range(_FOLDS)]
    peaks = []
    for part in parts:
        weights = fitted(each for other in parts if other is not part for each in other)
        peaks += [each.peaks(weights) for each in part]
    tail = tail_of([max(form.highest for form in each) for each in peaks])
    clean = [max(form.less(tail) for form in each) for each in peaks]
    return calibrate(clean, WINDOW, bound, tail=tail, weights=fitted(measured))


def _measured(
    decoder: LanguageModel,
    prompts: Sequence[str],
    cut: Sequence[Sequence[int]],
    prompt_tokens: int,
) -> list[_Measured]:
    """Step 1."""
    allowed = printable(decoder.tokenizer)
    forms = [[*_forms(decoder, *each, prompt_tokens)] for each in zip(prompts, cut, strict=True)]
    suffixed = [
        ([*ids, *noise(allowed, WINDOW, number)], ())
        for number, ids in enumerate(cut[:_SUFFIXED])
        if allowed
    ]
    asked = [form for each in forms for form in each] + suffixed
    found = series(decoder.model, asked)
    shaped = iter([(each, shapes_of(decoder.tokenizer, each.ids)) for each in found])
    plain = [[next(shaped) for _ in each] for each in forms]
    return [_Measured(each, next(shaped, None)) for each in plain]


def _forms(
    decoder: LanguageModel, prompt: str, ids: Sequence[int], prompt_tokens: int
) -> Iterator[tuple[Sequence[int], Sequence[bool]]]:
    """A prompt as plain text, and as a chat where the model has them, as `series` takes either."""
    yield ids, ()
    if decoder.writes_chats:
        chat = json.dumps([{"role": "user", "content": prompt}]).encode()
        found = decoder.cut(SamplingRequest(chat, True, Sampling(1)), decoder.positions)
        yield found.ids[:prompt_tokens], found.written[:prompt_tokens]


def _fitted(prompts: Iterable[_Measured]) -> SuffixWeights | None:
    """The classifier; None where there is too little to fit one."""
    chosen = list(prompts)
    clean = [_features(*each.forms[0]) for each in chosen if each.forms[0][0].places]
    noisy = [_features(*each.suffixed)[-_LAST:] for each in chosen if each.suffixed]
    if sum(map(len, clean)) < _FEWEST or sum(map(len, noisy)) < _FEWEST:
        return None
    return fit(torch.cat(clean), torch.cat(noisy))


def _unfitted(_: Iterable[_Measured]) -> None:
    """No classifier: windows are scored by surprise less entropy alone."""


def _features(found: SurpriseSeries, shapes: torch.Tensor) -> torch.Tensor:
    return window_features(found.ids, found.places, found.measured, shapes, WINDOW)
