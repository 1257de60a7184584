"""What is measured of one subject, and what five of them tell together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.intervals import Interval
from benchmarks.screening import knowing
from benchmarks.screening.attacks import ATTACKS, MANY, Attack, made
from benchmarks.screening.sources import Labels, Rows
from benchmarks.screening.subjects import ScreenedModel
from inference.screening.detector import Detector
from publishing.calibration.screening_report import auroc

Floats = npt.NDArray[np.float64]
FAMILIES = ("fgsm", "pgd", "near")
KNOWING_ROWS = 100
WORST = "worst of all on each row"


@dataclass(frozen=True, slots=True)
class Judges:
    """A subject's detector and those fitted without a family, with the clean test rows as these
    see them.
    """

    detector: Detector
    unseen: dict[str, Detector]
    features: Rows

    @classmethod
    def of(cls, subject: ScreenedModel) -> "Judges":
        detector, *others = subject.detectors(FAMILIES)
        features = subject.probe.measure(subject.slices["test"][0])[1]
        return cls(detector, dict(zip(FAMILIES, others, strict=True)), features)

    @property
    def clean(self) -> Floats:
        return self.detector.scores(self.features)

    def caught(self, family: str, features: Rows) -> dict[str, float]:
        """Of rows that an attack turned."""
        unseen = self.unseen[family]
        return {
            **tell(self.detector, self.clean, self.detector.scores(features)),
            "auroc_unseen": auroc(unseen.scores(self.features), unseen.scores(features)),
        }


def measure(subject: ScreenedModel, attacks: Sequence[Attack] = ATTACKS) -> dict[str, Any]:
    """Figures of one subject, by kind and name."""
    judges = Judges.of(subject)
    detector, clean = judges.detector, judges.clean
    x, y = subject.slices["test"]
    wrong = subject.probe.answers(x) != y
    return {
        "clean": alarms(detector, clean, wrong),
        "shifts": _shifts(subject, detector, x),
        "attacks": _attacks(subject, judges, attacks),
        "knowing": _knowing(subject, detector, clean, *subject.right),
    }


def alarms(detector: Detector, clean: Floats, wrong: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Of the clean test rows' scores [n], and of those rows that the model gets `wrong` [n]."""
    return {
        "rows": len(clean),
        "accuracy": 1 - share(wrong),
        "flagged": share(clean > detector.threshold),
        "bound": detector.calibration.adversarial.bound,
        "at_least_suspect": share(clean > detector.suspect_threshold),
        "suspect_bound": detector.calibration.suspect.bound,
        "errors": int(wrong.sum()),
        "errors_flagged": share(clean[wrong] > detector.threshold),
    }


def _attacks(subject: ScreenedModel, judges: Judges, attacks: Sequence[Attack]) -> dict[str, Any]:
    """By name; and last, of each row the attack that scores least of those that turned it."""
    found: dict[str, Any] = {}
    worst = np.full(min(len(subject.right[0]), MANY), np.inf)
    for attack in attacks:
        if attack.images_only and not subject.source.image:
            continue
        before, after, classes = made(subject, attack)
        logits, features = subject.probe.measure(after)
        turned = logits.argmax(axis=1) != classes
        found[attack.name] = {"attacked": len(before), "turned": share(turned)}
        if turned.any():
            found[attack.name] |= judges.caught(attack.family, features[turned])
            places = np.flatnonzero(turned)
            scores = judges.detector.scores(features[turned])
            worst[places] = np.minimum(worst[places], scores)
    ever = np.isfinite(worst)
    found[WORST] = {"attacked": len(worst), "turned": share(ever)}
    if ever.any():
        found[WORST] |= tell(judges.detector, judges.clean, worst[ever])
    return found


def _shifts(subject: ScreenedModel, detector: Detector, x: Rows) -> dict[str, float]:
    """How many rows are flagged under each benign change, and under noise as large as attacks."""
    generator = np.random.default_rng(100 + subject.seed)
    found = {
        name: share(detector.scores(subject.probe.measure(moved)[1]) > detector.threshold)
        for name, moved in subject.probe.shifts(x, generator)
    }
    signs = np.where(generator.random(x.shape) < 0.5, -1, 1)
    noisy = subject.columns.within(x, (x + signs * subject.unit).astype(np.float32))
    scores = detector.scores(subject.probe.measure(noisy)[1])
    found["noise as large as the attacks"] = share(scores > detector.threshold)
    return found


def _knowing(
    subject: ScreenedModel, detector: Detector, clean: Floats, x: Rows, y: Labels
) -> dict[str, float]:
    x, y = x[:KNOWING_ROWS], y[:KNOWING_ROWS]
    least = knowing.least_scores(subject, detector, x, y, knowing.RESTARTS, knowing.STEPS)
    return {
        "attacked": len(x),
        "turned": share(np.isfinite(least)),
        "joint_at_threshold": share(least <= detector.threshold),
        "joint_at_1_percent": share(least <= threshold(clean, 0.01)),
        "joint_at_5_percent": share(least <= threshold(clean, 0.05)),
    }


def tell(detector: Detector, clean: Floats, scores: Floats) -> dict[str, float]:
    """How well a detector tells the scores [m] of turned rows from those [n] of clean ones."""
    return {
        "auroc": auroc(clean, scores),
        "tpr_at_1_percent": share(scores > threshold(clean, 0.01)),
        "tpr_at_5_percent": share(scores > threshold(clean, 0.05)),
        "flagged": share(scores > detector.threshold),
        "at_least_suspect": share(scores > detector.suspect_threshold),
    }


def together(values: Sequence[float]) -> dict[str, float]:
    """Their mean, and half the width of its 95% interval (Student's t)."""
    found = {"mean": round(float(np.mean(values)), 4), "seeds": len(values)}
    if len(values) > 1:
        found["plus_minus"] = round(Interval.of(values).off, 4)
    return found


def threshold(clean: Floats, rate: float) -> float:
    """Above which that share of clean scores lies, at most."""
    return float(np.quantile(clean, 1 - rate, method="higher"))


def share(chosen: npt.NDArray[np.bool_]) -> float:
    return round(float(np.mean(chosen)), 4) if len(chosen) else 0.0
