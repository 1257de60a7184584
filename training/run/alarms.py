"""Bounds the false alarms of a classifier that looks for one class, by moving its bias.

The recipe's section `[alarms]` names the class. After training, the bias of that class is moved so
that it wins only in as many texts of other classes of the calibration slice as the bound allows
(`inference.screening.calibration`): of such texts, at most `bound` are classified as it, with
`confidence`. A text that is read in windows is classified as it if any window is, so the highest
window counts. The version therefore answers at its calibrated threshold, and its users need none.
Marking and INT8 rounding move logits slightly afterwards; the version's report says how far.

Longer texts would be called it more often: each of their windows may be. With `lengths` the
threshold rises with the number of windows (`training.run.lengths`). The bias is that of a single
window then. The caller of the version adds the rest, as the gateway does by the policy's
`by_windows`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from inference.text import tokens
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids
from sealgate.reasons import Reason, SealgateError
from training.data import CALIBRATION, Classes, Rows, RunData
from training.models.students import logits_of
from training.recipe.recipe import AlarmsSection
from training.run.lengths import ByText, Leads, of_long_texts, rank, settled_threshold

_BATCH = 256


@dataclass(frozen=True, slots=True)
class SettledBias:
    """Of `texts` of other classes, the margin at place `rank` from the highest is the `threshold`
    above which the class wins; so at most `bound` of such texts are called it, with `confidence`.
    From so many windows on the threshold is higher by what `by_windows` says, in hundredths, as in
    a policy.
    """

    label: str
    bound: float
    confidence: float
    texts: int
    rank: int
    threshold: float
    by_windows: Mapping[str, int] = field(default_factory=dict)


def check(material: RunData, asked: AlarmsSection) -> None:
    """Before anything is trained: that the rows can back the bound.

    Raises: RECIPE_INVALID for a class that the rows do not have; CALIBRATION_TOO_SMALL.
    """
    if asked.label:
        others = material.slices[CALIBRATION][1] != _sought(material, asked)
        _, windows = np.unique(_texts(material)[others], return_counts=True)
        rank(int((windows < min(asked.lengths, default=np.inf)).sum()), asked)


def settle(student: nn.Module, material: RunData, asked: AlarmsSection) -> SettledBias | None:
    """Move the bias of the student's head; None where the recipe looks for no class.

    Raises: RECIPE_INVALID for a class that the rows do not have; CALIBRATION_TOO_SMALL.
    """
    if not asked.label:
        return None
    sought = _sought(material, asked)
    x, y = material.slices[CALIBRATION]
    others, texts = y != sought, _texts(material)
    clean = ByText.of(_leads(student, x[others], sought), texts[others])
    row = np.zeros(0, np.float32)
    if asked.lengths:
        is_long = of_long_texts(texts[others])
        row = _leads(
            student, _in_a_row(material, x[others][is_long], texts[others][is_long]), sought
        )
    found = settled_threshold(clean, row, asked)
    head = student.get_submodule("head")
    with torch.no_grad():
        # The margin at that place is no alarm; the first index of equal logits would win.
        threshold = torch.tensor(found.threshold)
        head.bias[sought] -= torch.nextafter(threshold, torch.tensor(torch.inf))
    return SettledBias(
        *(asked.label, asked.bound, asked.confidence, found.texts, found.rank),
        float(found.threshold),
        {str(windows): raised for windows, raised in found.by_windows.items()},
    )


def _in_a_row(material: RunData, x: Ids, texts: Classes) -> Ids:
    """The texts one behind the other, in windows that each begin half a window later."""
    read = material.read
    if read.tokens is None or read.tokenizer is None:
        raise ValueError("only windows of texts stand in a row")
    before, behind = TextTokenizer.open(read.tokenizer, read.tokens).around
    said = []
    for number in np.unique(texts):
        # Each second window of a text begins where the one before it ended, or a word earlier.
        for window in x[texts == number][::2]:
            length = int((window >= 0).sum())
            said.append(window[len(before) : length - len(behind)])
    row, room = np.concatenate(said), x.shape[1] - len(before) - len(behind)
    starts = range(0, max(1, len(row) - room + 1), max(1, room // 2))
    cut = [np.concatenate([before, row[at : at + room], behind]) for at in starts]
    return np.concatenate([tokens.resized(each[np.newaxis], x.shape[1]) for each in cut])


def _leads(student: nn.Module, x: Rows, sought: int) -> Leads:
    found = np.zeros(len(x), np.float32)
    for places, rows in _batches(x):
        logits = logits_of(student, torch.from_numpy(np.ascontiguousarray(rows))).numpy()
        found[places] = logits[:, sought] - np.delete(logits, sought, 1).max(1)
    return found


def _batches(x: Rows) -> Iterator[tuple[Classes, Rows]]:
    """Rows and their places; those of tokens with others of like length, cut to the longest."""
    if x.dtype != np.int64:
        yield np.arange(len(x)), x
        return
    lengths = tokens.lengths(x)
    order = np.argsort(lengths, kind="stable")
    for places in np.split(order, range(_BATCH, len(order), _BATCH)):
        yield places, x[places, : max(2, int(lengths[places].max(initial=0)))]


def _sought(material: RunData, asked: AlarmsSection) -> int:
    if asked.label not in material.read.names:
        raise SealgateError(Reason.RECIPE_INVALID, f"[alarms] no row is a {asked.label!r}")
    return material.read.names.index(asked.label)


def _texts(material: RunData) -> Classes:
    """Of which text each row of the calibration slice is."""
    return material.texts.get(CALIBRATION, np.arange(len(material.slices[CALIBRATION][1])))
