"""Compares an answer with its true outcome: which rows were right, how sure, how far off.

An entry about an outcome has this as JSON in its field `output`, its names sorted:

    {"answers": [...], "truths": [...], "right": [true, ...], "confidences": [0.93, ...],
     "errors": [0.2, ...], "groups": {"age": "under-40"}}

with one item for each row of the answer. `answers` and `truths` are labels, lists of labels or
lists of numbers. `confidences` is empty where the answer tells none, and `errors` for labels.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from inference.model.config import ModelConfig
from inference.model.decisions import CLASSES, LABEL, NUMBERS, ROUNDED
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor

Array = npt.NDArray[Any]
MOST_ROWS = 256
_LARGEST = 32 << 10
# Of how much the probabilities of a row may miss 1 and still be taken as such.
_SLACK = 1e-3


class Truth(NamedTuple):
    """The true outcome of a row: labels, or numbers."""

    labels: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """See the module. `groups` are the attributes that the reporter stated."""

    answers: Sequence[Any]
    truths: Sequence[Any]
    right: Sequence[bool]
    confidences: Sequence[float] = ()
    errors: Sequence[float] = ()
    groups: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> str:
        """Raises SealgateError(OUTCOME_MALFORMED) where an entry has no room for it."""
        told = {name: getattr(self, name) for name in self.__slots__}
        text = json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)
        if len(text) > _LARGEST:
            raise _malformed("too large for an entry")
        return text

    @classmethod
    def decode(cls, text: str) -> "JudgedAnswer":
        """Read what `encode` wrote; the entry that holds it is this log's own."""
        return cls(**json.loads(text))


def judge(
    config: ModelConfig,
    outputs: Mapping[str, Tensor],
    truths: Sequence[Truth],
    groups: Mapping[str, str],
) -> JudgedAnswer:
    """Hold an answer's rows against their truths.

    Raises SealgateError: OUTCOME_UNSUITABLE for outputs that say nothing of what the model decides;
    OUTCOME_MALFORMED for truths that no answer of the model could be, or another number of them.
    """
    kind = config.decision.kind
    scores = outputs.get(config.output.name)
    reduced = outputs.get(ROUNDED if kind == NUMBERS else LABEL)
    found = scores or reduced
    if found is None or not found.shape:
        raise SealgateError(Reason.OUTCOME_UNSUITABLE, ", ".join(outputs))
    if not 1 <= len(truths) <= MOST_ROWS or found.shape[0] != len(truths):
        raise _malformed(f"{len(truths)} outcomes of {found.shape[0]} rows")
    if kind == CLASSES:
        return _classes(config, found.data, scores is not None, truths, groups)
    if kind == NUMBERS:
        return _numbers(config, found.data, truths, groups)
    return _labels(config, found.data, scores is not None, truths, groups)


def _classes(
    config: ModelConfig,
    data: Array,
    scored: bool,
    truths: Sequence[Truth],
    groups: Mapping[str, str],
) -> JudgedAnswer:
    places = config.decision.index(data) if scored else data
    answers = [config.labels[place] for place in places.tolist()]
    for truth in truths:
        if truth.numbers or len(truth.labels) != 1 or truth.labels[0] not in config.labels:
            raise _malformed("of a class, the outcome is one of its labels")
    wanted = [truth.labels[0] for truth in truths]
    right = [answer == truth for answer, truth in zip(answers, wanted, strict=True)]
    sure = _probabilities(data).max(axis=1).tolist() if scored else ()
    return JudgedAnswer(answers, wanted, right, sure, groups=groups)


def _probabilities(scores: Array) -> Array:
    """Of rows of scores [n, C]: themselves where they are probabilities, else their softmax."""
    scores = scores.astype(np.float64)
    if scores.min() >= 0 and np.abs(scores.sum(axis=1) - 1).max() <= _SLACK:
        return np.asarray(np.minimum(scores, 1))
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def _numbers(
    config: ModelConfig, data: Array, truths: Sequence[Truth], groups: Mapping[str, str]
) -> JudgedAnswer:
    width = config.output.row[0]
    if any(truth.labels or len(truth.numbers) != width for truth in truths):
        raise _malformed(f"the outcome of a row is {width} numbers")
    wanted = np.array([truth.numbers for truth in truths], np.float64)
    if not np.isfinite(wanted).all():
        raise _malformed("a number is not finite")
    answers = data.astype(np.float64)
    right = ~config.decision.changed(answers, wanted)
    errors = np.abs(answers - wanted).mean(axis=1).tolist()
    return JudgedAnswer(
        answers.tolist(), wanted.tolist(), right.tolist(), errors=errors, groups=groups
    )


def _labels(
    config: ModelConfig,
    data: Array,
    scored: bool,
    truths: Sequence[Truth],
    groups: Mapping[str, str],
) -> JudgedAnswer:
    for truth in truths:
        known = {*config.labels}.issuperset(truth.labels)
        if truth.numbers or not known or len({*truth.labels}) < len(truth.labels):
            raise _malformed("the outcome is the labels that hold")
    held = config.decision.reduced(data).data if scored else data
    answers = [[config.labels[at] for at in np.flatnonzero(row)] for row in held]
    wanted = [[label for label in config.labels if label in truth.labels] for truth in truths]
    right = [answer == truth for answer, truth in zip(answers, wanted, strict=True)]
    return JudgedAnswer(answers, wanted, right, groups=groups)


def _malformed(detail: str) -> SealgateError:
    return SealgateError(Reason.OUTCOME_MALFORMED, detail)
