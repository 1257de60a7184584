"""What answers for a version, and where: the INT8 graph in this process, or a model elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]

IN_PROCESS = "in-process, digest checked"
# INT8 answers repeat bit for bit on one machine. Another machine may round the float operations
# around the integer kernels differently, by no more than this (absolute and relative).
GOLDEN_TOLERANCE = 1e-5


class Served(Protocol):
    """Computes the logits of rows."""

    def run(self, feeds: Mapping[str, Array]) -> list[Array]: ...


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers. `place` says where it runs, and whether its digest is checked there.

    It takes `lanes` batches at once. Golden answers may be off by `tolerance`, and by `company`
    with the batch that they sit in (each absolute and relative).
    """

    served: Served
    lanes: int
    place: str = IN_PROCESS
    tolerance: float = GOLDEN_TOLERANCE
    company: float = 0.0
