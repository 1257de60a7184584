"""What was measured of a version while it was made, and reading a worker's word on it strictly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.golden import Golden
from inference.numbers import number
from publishing import probe, text_probe
from publishing.watermark.detection import Detection
from publishing.watermark.records import Slot
from sealgate.trust import canonical, fields

_FLAGS = ("flagged", "at_least_suspect")
_CAUGHT = ("auroc", "caught_at_1_percent", "caught_at_5_percent", *_FLAGS)
_GOLDEN = (
    "rows",
    "classes_answered",
    "same_class_as_fp32",
    "largest_difference_to_fp32",
    "same_alone_and_in_a_batch",
)


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Shares of the test slice, which nothing was fitted on, by what answered."""

    source: float
    fp32: float
    int8: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What only running the model tells: a worker's word."""

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
    def decode(cls, data: bytes, golden: Golden, test_rows: int) -> "Measured":
        """Read what `encode` wrote of these golden answers and a test slice of this many rows.

        Every name is one of ours and every value a number where it can lie, so that what is signed
        as evidence has no other content. Raises DOCUMENT_MALFORMED.
        """
        top = fields.record(canonical.decode(data), ("golden", "screening", "accuracies"))
        shares = _shares(top["accuracies"], ("source", "fp32", "int8"))
        return cls(
            _golden(top["golden"], golden),
            _screening(top["screening"], test_rows, golden.x.dtype == np.int64),
            Accuracies(**shares),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured; `amplitude` is the mark's, in units of each matrix's spread, `worded`
    whether it carries its payload, `slots` which weights carry it.
    """

    watermark_fp32: Detection
    watermark_int8: Detection
    amplitude: float
    worded: bool
    slots: tuple[Slot, ...]
    measured: Measured

    @property
    def accuracy_lost(self) -> float:
        """By marking: the share of the test slice that was right before and is not, net."""
        return self.measured.accuracies.source - self.measured.accuracies.fp32


def _golden(value: Any, golden: Golden) -> dict[str, Any]:
    item = fields.record(value, _GOLDEN)
    told = (item["rows"], item["classes_answered"], item["same_alone_and_in_a_batch"])
    if told != (len(golden.x), len(np.unique(golden.logits.argmax(axis=1))), True):
        raise fields.malformed("the report is not of these golden answers")
    _share(item["same_class_as_fp32"])
    if number(item["largest_difference_to_fp32"]) < 0:
        raise fields.malformed("a difference is negative")
    return item


def _screening(value: Any, rows: int, of_text: bool) -> dict[str, Any]:
    item = fields.record(value, ("rows", "clean", "shifts", "attacks"))
    if item["rows"] != rows:
        raise fields.malformed("the report is of another number of rows")
    _shares(item["clean"], _FLAGS)
    kind = text_probe if of_text else probe
    for shift in fields.record(item["shifts"], kind.SHIFTS).values():
        _shares(shift, ("answers_changed", *_FLAGS))
    for attack in fields.record(item["attacks"], kind.ATTACKS).values():
        none_succeeded = fields.mapping(attack).keys() == {"succeeded"}
        _shares(attack, ("succeeded",) if none_succeeded else ("succeeded", *_CAUGHT))
    return item


def _shares(value: Any, names: tuple[str, ...]) -> dict[str, float]:
    return {name: _share(share) for name, share in fields.record(value, names).items()}


def _share(value: Any) -> float:
    share = number(value)
    if not 0 <= share <= 1:
        raise fields.malformed("a share lies between 0 and 1")
    return share
