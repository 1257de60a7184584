"""What a run has to show, before it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.plots import Reliability


@dataclass(frozen=True, slots=True)
class Results:
    """`files` of the folder `model`; one more file beside it that publishing takes, by name; and
    what `report.json` says.
    """

    files: Mapping[str, bytes]
    beside: tuple[str, bytes]
    report: Mapping[str, Any]
    reliability: Reliability | None = None
