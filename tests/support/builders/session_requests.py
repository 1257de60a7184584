"""Requests of callers to a watch over sessions, and what it finds in each."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from gateway.sessions.session_screen import SessionFinding, SessionWatch
from inference.engine.result import InferenceResult
from inference.model.config import CLASSES, InputScaling
from inference.screening.detector import Verdict
from sealgate.trust.policy.screening import (
    SessionRules,
)

KEY = b"k" * 32
RULES = SessionRules("label-only", "alert", seconds=60)
BLOCKS = SessionRules("block", "alert", seconds=60)
PIXELS = InputScaling((0.0,), (16.0,))
COLUMNS = InputScaling((0.0,) * 64, (1.0,) * 64)
NOTHING = SessionFinding()
DRAW = np.random.default_rng(5)
ROW = DRAW.random((1, 64), np.float32)


def draw_anew() -> None:
    """Have each test draw the same rows, whatever ran before it."""
    DRAW.bit_generator.state = np.random.default_rng(6).bit_generator.state


def a_live(
    model: str = "digits", scaling: InputScaling | None = PIXELS, row: tuple[int, ...] = (64,)
) -> Any:
    promised = SimpleNamespace(adversarial=0.01, suspect=0.05, surely=lambda rate: rate)
    config = SimpleNamespace(
        domain=SimpleNamespace(min=0.0, max=1.0),
        input=SimpleNamespace(row=row),
        output=SimpleNamespace(name="logits", row=(10,)),
        scaling=scaling,
        decision=CLASSES,
    )
    ready = SimpleNamespace(detector=SimpleNamespace(calibration=promised))
    return SimpleNamespace(model=model, config=config, ready=ready, digest="sha256:1")


def near(number: int) -> list[np.ndarray]:
    """Rows [1, 64] that are near duplicates of one another."""
    noise = DRAW.normal(0, 0.01, (number, 64))
    return [np.clip(ROW + each, 0, 1).astype(np.float32) for each in noise]


def ask(
    watch: SessionWatch,
    row: np.ndarray,
    caller: str = "carla",
    verdict: Verdict = Verdict.CLEAN,
    rules: SessionRules | None = RULES,
    model: str = "digits",
    scaling: InputScaling | None = COLUMNS,
    label: int = 0,
) -> str | None:
    return told(watch, row, caller, verdict, rules, model, scaling, label).action


def told(
    watch: SessionWatch,
    row: np.ndarray,
    caller: str = "carla",
    verdict: Verdict = Verdict.CLEAN,
    rules: SessionRules | None = BLOCKS,
    model: str = "digits",
    scaling: InputScaling | None = PIXELS,
    label: int = 0,
    withheld: bool = False,
) -> SessionFinding:
    live = a_live(model, scaling)
    (prints,) = watch.prints(rules, live, [row])
    asked = [(prints, answered(len(row), label, verdict))]
    return watch.observe(rules, caller, live, asked, withheld=[withheld])


def answered(rows: int, label: int = 0, verdict: Verdict = Verdict.CLEAN) -> InferenceResult:
    logits = np.zeros((rows, 10), np.float32)
    logits[:, label] = 1
    return InferenceResult({"logits": logits}, np.zeros((rows, 3)), 0.0, verdict, 1.0)
