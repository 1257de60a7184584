"""Measurements of a version while it was made, and strict parsing of the worker's report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.model.columns import number
from inference.model.config import CLASSES
from inference.model.decisions import Decision
from inference.model.golden import Golden
from publishing.calibration import BORDER, attack_names, change_names
from publishing.evidence.certified_rows import SIZES
from publishing.watermark import MarkDetection, WeightSlot
from sealgate.trust import canonical, fields
from sealgate.trust.receipts.answer_entry import FLOAT32, NONE

UNSEEN = "unseen"
"""Of a version recalibrated from one whose answers are not compared with its float32 model's."""
NO_SCREENING = {
    "screening": NONE,
    "statement": "no screening: nothing looks for adversarial inputs, and no answer has a verdict",
}
"""The report on a version without screening."""
_FLAGS = ("flagged", "at_least_suspect")
_CAUGHT = ("auroc", "caught_at_1_percent", "caught_at_5_percent", *_FLAGS)
_LOST = ("auroc_lost", "auroc_lost_most", "auroc_lost_to_knowing")
CHANGED = ("flagged_before", "flagged", "at_least_suspect_before", "at_least_suspect")
RECALIBRATION = "recalibration"
"""The section of a screening report that says what one changed, in such shares."""
CERTIFIED = "certified"
"""The section that says which shares of rows no change turns, by its size; of networks alone."""
_STAGES = ("goes_on", *_LOST, "forwards")
_GOLDEN = (
    "rows",
    "classes_answered",
    "same_class_as_fp32",
    "largest_difference_to_fp32",
    "same_alone_and_in_a_batch",
)


@dataclass(frozen=True, slots=True)
class Accuracies:
    """How good answers are on the test slice, which no step was fitted on: shares of correct ones,
    or what `Decision.quality` says.
    """

    source: float
    fp32: float
    int8: float


@dataclass(frozen=True, slots=True)
class TrialMeasurements:
    """The figures that need a run of the model, as a worker reports them."""

    golden: Mapping[str, Any]
    screening: Mapping[str, Any]
    accuracies: Accuracies

    def encode(self) -> bytes:
        """Return canonical JSON."""
        shares = self.accuracies
        return canonical.encode(
            {
                "golden": dict(self.golden),
                "screening": dict(self.screening),
                "accuracies": {
                    "source": shares.source,
                    "fp32": shares.fp32,
                    "int8": shares.int8,
                },
            }
        )

    @classmethod
    def decode(
        cls,
        data: bytes,
        golden: Golden,
        test_rows: int,
        same: bool = True,
        decision: Decision = CLASSES,
    ) -> "TrialMeasurements":
        """Read what `encode` wrote of these golden answers, which are the `same` to the last bit in
        any batch or not, and of so many rows screened; of none, it says that nothing is.

        Every name is one of ours and every value a number where it can lie, so that what is signed
        as evidence has no other content. Raises DOCUMENT_MALFORMED.
        """
        top = fields.record(canonical.decode(data), ("golden", "screening", "accuracies"))
        shares = _shares(top["accuracies"], ("source", "fp32", "int8"))
        return cls(
            _golden(top["golden"], golden, same, decision),
            _with_recalibration(top["screening"], test_rows, golden.x.dtype == np.int64),
            Accuracies(**shares),
        )


@dataclass(frozen=True, slots=True)
class MarkFigures:
    """A mark as it is read in the float32 file and in the one that answers; `amplitude` is in units
    of each matrix's spread, `worded` whether it carries its payload, `slots` which weights carry
    it.
    """

    fp32: MarkDetection
    int8: MarkDetection
    amplitude: float
    worded: bool
    slots: tuple[WeightSlot, ...]


@dataclass(frozen=True, slots=True)
class VersionReport:
    """All that was measured; the `mark` is None where the model's `weights` are too few for one."""

    mark: MarkFigures | None
    weights: int
    measured: TrialMeasurements

    @property
    def accuracy_lost(self) -> float:
        """By marking: the share of the test slice that was right before and is not, net."""
        return self.measured.accuracies.source - self.measured.accuracies.fp32


def _golden(value: Any, golden: Golden, same: bool, decision: Decision) -> dict[str, Any]:
    item = fields.record(value, _GOLDEN)
    told = (item["rows"], item["classes_answered"], item["same_alone_and_in_a_batch"])
    if told != (len(golden.x), len(np.unique(decision.index(golden.logits))), same):
        raise fields.malformed("the report is not of these golden answers")
    _share(item["same_class_as_fp32"])
    if number(item["largest_difference_to_fp32"]) < 0:
        raise fields.malformed("a difference is negative")
    return item


def _screening(value: Any, rows: int, of_text: bool) -> dict[str, Any]:
    item = fields.record(value, ("rows", "clean", "shifts", "attacks", "disagreement", "stages"))
    if item["rows"] != rows:
        raise fields.malformed("the report is of another number of rows")
    staged = _stages(item["stages"])
    on = (*(("goes_on",) if staged else ()), *_compared(item["disagreement"]))
    _shares(item["clean"], (*_FLAGS, *on))
    changes = change_names(of_text, fields.mapping(item["shifts"]))
    for shift in fields.record(item["shifts"], changes).values():
        _shares(shift, ("answers_changed", *_FLAGS, *on))
    caught = ("succeeded", *_CAUGHT, *on, *(("auroc_graph",) if staged else ()))
    for attack in fields.record(item["attacks"], (*attack_names(of_text), BORDER)).values():
        none_succeeded = fields.mapping(attack).keys() == {"succeeded"}
        _shares(attack, ("succeeded",) if none_succeeded else caught)
    return item


def _compared(value: Any) -> tuple[str, ...]:
    """The words for each share of rows, by whether answers are compared."""
    if value not in (UNSEEN, FLOAT32):
        raise fields.malformed("where answers disagree, float32's leaves, or they are not compared")
    return () if value == UNSEEN else ("disagrees",)


def _stages(value: Any) -> bool:
    """Whether there is a first stage; what it would cost is said wherever one could be."""
    measured = len(fields.mapping(value)) > 1
    item = fields.record(value, ("first_stage", *_STAGES) if measured else ("first_stage",))
    if not isinstance(item["first_stage"], bool) or (item["first_stage"] and not measured):
        raise fields.malformed("a first stage and its costs must be given together")
    if measured:
        _share(item["goes_on"])
        if max(abs(number(item[name])) for name in _LOST) > 1:
            raise fields.malformed("an AUROC lies between 0 and 1")
        costs = fields.record(item["forwards"], ("int8", "graph", "staged"))
        if min(number(cost) for cost in costs.values()) < 0:
            raise fields.malformed("a cost is negative")
    return bool(item["first_stage"])


def _shares(value: Any, names: tuple[str, ...]) -> dict[str, float]:
    return {name: _share(share) for name, share in fields.record(value, names).items()}


def _share(value: Any) -> float:
    share = number(value)
    if not 0 <= share <= 1:
        raise fields.malformed("a share lies between 0 and 1")
    return share


def _with_recalibration(value: Any, rows: int, of_text: bool) -> dict[str, Any]:
    """The report on screening; after a recalibration, with what that changed."""
    if not rows:
        if value != NO_SCREENING:
            raise fields.malformed("nothing is screened")
        return dict(NO_SCREENING)
    given = dict(fields.mapping(value))
    changed, proved = given.pop(RECALIBRATION, None), given.pop(CERTIFIED, None)
    found = _screening(given, rows, of_text)
    if proved is not None:
        found |= {CERTIFIED: _shares(proved, tuple(f"{size:g}" for size in SIZES))}
    if changed is None:
        return found
    item = fields.record(changed, ("clean", "attacks"))
    attacks = fields.mapping(item["attacks"])
    # Those that turned an answer.
    known = set(attack_names(of_text)) & set(attacks)
    for shares in (item["clean"], *fields.record(attacks, known).values()):
        _shares(shares, CHANGED)
    return {**found, RECALIBRATION: item}
