"""What answers for a version, and where: the INT8 graph in this process, or a model elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from inference.runtime import Session
from inference.runtime_settings import CPU, RuntimeSettings
from sealgate.trust.answer import INT8

Array = npt.NDArray[Any]

IN_PROCESS = "in-process, digest checked"
# INT8 answers repeat bit for bit on one machine. Another machine may round the float operations
# around the integer kernels differently, by no more than this (absolute and relative).
GOLDEN_TOLERANCE = 1e-5
# What screening measures, in float32, may be off by this much in other company: kernels sum in
# another order for a single row than for a full tile.
SCREENING_TOLERANCE = 1e-3


class Served(Protocol):
    """Computes the logits of rows."""

    def run(self, feeds: Mapping[str, Array]) -> list[Array]: ...


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers. `place` says where it runs, and whether its digest is checked there;
    `arithmetic` what it computes with, empty where that is not known here.

    It takes `lanes` batches at once. Golden answers may be off by `tolerance`; with the batch that
    they sit in, by `company`, and what screening measures by `screening` (absolute and relative).
    """

    served: Served
    lanes: int
    place: str = IN_PROCESS
    tolerance: float = GOLDEN_TOLERANCE
    company: float = 0.0
    screening: float = SCREENING_TOLERANCE
    arithmetic: str = INT8

    @classmethod
    def here(
        cls, served: Session, response: Session, lanes: int, settings: RuntimeSettings
    ) -> "Serving":
        """Graphs of this process: `served` answers, and `response` is what screens."""
        place = "" if settings.provider == CPU else f", on {served.place}"
        if response.place != served.place:
            place += f", screened on {response.place}"
        stated = settings.tolerance
        return cls(
            served,
            # A captured graph has one set of buffers.
            1 if settings.cuda_graphs else lanes,
            IN_PROCESS + place,
            tolerance=stated or GOLDEN_TOLERANCE,
            company=0.0 if settings.deterministic else stated,
            screening=0.0 if settings.deterministic else max(stated, SCREENING_TOLERANCE),
        )
