"""The INT8 form of a subject's network, and where its answers are not those of its float32 twin.

Attacks that stop right behind a boundary stop within what rounding moves it by, so a disagreement
of the two may tell of them. It costs nothing where both run anyway.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from inference.runtime import response_contract
from inference.runtime.session import Session
from publishing.quantization import quantize
from training.export.classifier import export_serving

Floats = npt.NDArray[np.float32]
FEATURES = 3


@dataclass(frozen=True, slots=True)
class Served:
    """An INT8 network."""

    session: Session

    def logits(self, x: Floats) -> Floats:
        """Of rows x [n, D], [n, C]."""
        (found,) = self.session.run({"x": x})
        return np.asarray(found, np.float32)

    def features(self, x: Floats, twin: Floats) -> Floats:
        """[n, FEATURES] beside the logits [n, C] of the float32 twin: whether both answer alike, by
        how much the lead of the twin's answer differs, and how far the logits are apart.
        """
        ours, rows = self.logits(x), np.arange(len(x))
        answer = twin.argmax(axis=1)
        leads = []
        for logits in (ours, twin):
            others = logits.copy()
            others[rows, answer] = -np.inf
            leads.append(logits[rows, answer] - others.max(axis=1))
        apart = np.linalg.norm(ours - twin, axis=1)
        differ = ours.argmax(axis=1) != answer
        return np.stack([differ, leads[0] - leads[1], apart], axis=1).astype(np.float32)


def served(module: torch.nn.Module, rows: Floats) -> Served:
    """As a version is quantized: on rows [n, D] of the fit slice."""
    graph = export_serving(module, rows.shape[1:])
    return Served(
        Session.open(quantize(graph, response_contract.X, rows), [response_contract.LOGITS])
    )
