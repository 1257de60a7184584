"""Bounds the false alarms of a classifier that looks for one class, by moving its bias.

The recipe's section `[alarms]` names the class. After training, the bias of that class is moved so
that it wins only in as many texts of other classes of the calibration slice as the bound allows
(`inference.screening.calibration`): of such texts, at most `bound` are classified as it, with
`confidence`. A text that is read in windows is classified as it if any window is, so the highest
window counts. The version therefore answers at its calibrated threshold, and its users need none.
Marking and INT8 rounding move logits slightly afterwards; the version's report says how far.

Longer texts than the slice has would be called it more often: each of their windows may be. With
`growth`, the threshold rises with each doubling of the number of windows, by the least that keeps
a bound, `long_bound`, at every length that the slice can back: for its long texts in a row, cut
into texts of 2, 4, 8 and so on windows. Texts of few windows are no part of that row: what is
written at length is unlike many prompts one behind the other. And a length counts only where the
bound allows `_FEWEST` alarms: else the growth would follow from the one text that is most unlike
the others. The bias is that of a single window then. Who asks the version adds the rest, as the
policy's `growth` has the gateway do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from inference.screening.calibration import conformal_rank
from inference.text import tokens
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids
from inference.text.windows import MOST_COUNTED, doublings
from sealgate.reasons import Reason, SealgateError
from training.data import CALIBRATION, Classes, Rows, RunData
from training.models.students import logits_of
from training.recipe.recipe import AlarmsSection

_BATCH = 256
LONG = 4
"""Texts of fewer windows are none of the long ones."""
_FEWEST = 4
Leads = npt.NDArray[np.float32]
"""By how much the class that is looked for leads all others."""


@dataclass(frozen=True, slots=True)
class SettledBias:
    """Of `texts` of other classes, the margin at place `rank` from the highest is the `threshold`
    above which the class wins; so at most `bound` of such texts are called it, with `confidence`.
    For each doubling of a text's windows the threshold is `growth` hundredths higher.
    """

    label: str
    bound: float
    confidence: float
    texts: int
    rank: int
    threshold: float
    growth: int = 0


def check(material: RunData, asked: AlarmsSection) -> None:
    """Before anything is trained: that the rows can back the bound.

    Raises: RECIPE_INVALID for a class that the rows do not have; CALIBRATION_TOO_SMALL.
    """
    if asked.label:
        others = material.slices[CALIBRATION][1] != _sought(material, asked)
        _rank(len(np.unique(_texts(material)[others])), asked)


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
    place = _rank(len(clean.highest), asked)
    growth = 0
    if asked.growth:
        is_long = of_long_texts(texts[others])
        row = _in_a_row(material, x[others][is_long], texts[others][is_long])
        growth = least_growth(clean, _leads(student, row, sought), asked)
    threshold = clean.threshold(place, growth)
    head = student.get_submodule("head")
    with torch.no_grad():
        # The margin at that place is no alarm; the first index of equal logits would win.
        head.bias[sought] -= torch.nextafter(torch.tensor(threshold), torch.tensor(torch.inf))
    found = (len(clean.highest), place, float(threshold), growth)
    return SettledBias(asked.label, asked.bound, asked.confidence, *found)


@dataclass(frozen=True, slots=True, eq=False)
class ByText:
    """Of each text, the highest of its windows' leads [n], and how often one window was doubled
    until there were as many as it has [n].
    """

    highest: Leads
    doubled: npt.NDArray[np.float32]

    @classmethod
    def of(cls, leads: Leads, texts: Classes) -> "ByText":
        """Of windows, each of the text with that number."""
        _, place, windows = np.unique(texts, return_inverse=True, return_counts=True)
        highest = np.full(len(windows), -np.inf, np.float32)
        np.maximum.at(highest, place, leads)
        return cls(highest, np.array([doublings(int(each)) for each in windows], np.float32))

    def threshold(self, place: int, growth: int) -> np.float32:
        """The highest but `place` - 1 of them, each less the growth of so many hundredths."""
        lowered = self.highest - np.float32(growth / 100) * self.doubled
        return np.float32(np.sort(lowered)[-place])


def least_growth(clean: ByText, row: Leads, asked: AlarmsSection) -> int:
    """In hundredths: at it the bound of long texts holds for those of every length that can back
    it, cut from a row of windows.
    """
    place = _rank(len(clean.highest), asked)
    wanted = _wanted(row, asked)
    for growth in count():
        base = clean.threshold(place, growth)
        if all(base + growth / 100 * doublings(n) >= least for n, least in wanted.items()):
            return growth
    raise AssertionError("a growth is found at some length")


def of_long_texts(texts: Classes) -> npt.NDArray[np.bool_]:
    """Whether each window [n], of the text with that number, is of a long one: there are `LONG` of
    it. Of no window where no text is long, all are, so that there is a row.
    """
    _, place, windows = np.unique(texts, return_inverse=True, return_counts=True)
    is_long: npt.NDArray[np.bool_] = (windows >= LONG)[place]
    return is_long if is_long.any() else np.ones(len(texts), bool)


def _wanted(row: Leads, asked: AlarmsSection) -> Mapping[int, float]:
    """The threshold that texts of so many windows need."""
    found, windows, bound = {}, 2, asked.long_bound or asked.bound
    while windows <= MOST_COUNTED:
        whole = len(row) // windows
        highest = row[: whole * windows].reshape(whole, windows).max(1)
        place = conformal_rank(whole, bound, asked.confidence) if whole else 0
        if place > _FEWEST:
            found[windows] = float(np.sort(highest)[-place])
        windows *= 2
    return found


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


def _rank(texts: int, asked: AlarmsSection) -> int:
    place = conformal_rank(texts, asked.bound, asked.confidence) if texts else 0
    if place == 0:
        detail = f"{texts} texts of other classes cannot back {asked.bound}"
        raise SealgateError(Reason.CALIBRATION_TOO_SMALL, detail)
    return place
