"""Extractions against what watches sessions."""

from typing import Any

import numpy as np

from benchmarks.subjects import Guarded, Rows
from gateway.sessions.evidence import CallerSession
from inference.screening import attack
from publishing.calibration.query_attacks import jacobian_augmentation

_ROUNDS = 3
_SEEDS = 100


def extraction_row(guarded: Guarded, x: Rows, step: float, number: int) -> dict[str, Any]:
    """`number` times 100 rows of x [n, d] and what is made of them by moves of `step`."""

    def sign(rows: Rows) -> Rows:
        moved = attack.fgsm(guarded.probe.session, rows, 1e-3, -9, 9)
        return np.sign(moved - rows).astype(np.float32)

    either, alone = [], []
    for seed in range(number):
        seeds = x[np.random.default_rng(seed).permutation(len(x))[:_SEEDS]]
        rows = np.stack(list(jacobian_augmentation(seeds, step, _ROUNDS, sign)))
        session, prints = CallerSession(), guarded.printer.of(rows, 0, 1, guarded.alike)
        found = [
            session.add(given, label, payoff)
            for given, (label, _, payoff) in zip(prints, guarded.judge(rows), strict=True)
        ]
        either.append(next((n for n, each in enumerate(found, 1) if any(each)), None))
        alone.append(any(extraction for _, extraction in found))
    caught = [number for number in either if number is not None]
    return {
        "extraction": f"Jacobian augmentation, step {step}",
        "attacks": number,
        "rows_each": len(rows),
        "flagged": len(caught) / number,
        "median_queries_to_flag": float(np.median(caught)) if caught else None,
        "by_distances_alone": sum(alone) / number,
    }
