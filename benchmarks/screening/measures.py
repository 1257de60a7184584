"""What is measured of one subject, and what five of them tell together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.screening import knowing
from benchmarks.screening.attacks import ATTACKS, MANY, Attack, made
from benchmarks.screening.subjects import Labels, Rows, Subject
from inference.screening.detector import Detector
from publishing.screening_report import auroc

Floats = npt.NDArray[np.float64]
FAMILIES = ("fgsm", "pgd", "near")
KNOWING_ROWS = 100
WORST = "worst of all on each row"
# Student's t, 97.5%, for one to nine degrees of freedom.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True, slots=True)
class Judges:
    """A subject's detector, those fitted without a family, and one without the reference; with the
    features of the clean test rows.
    """

    detector: Detector
    unseen: dict[str, Detector]
    shorter: Detector
    features: Rows

    @classmethod
    def of(cls, subject: Subject) -> "Judges":
        detector, *others = subject.detectors(FAMILIES)
        unseen = dict(zip(FAMILIES, others, strict=True))
        features = subject.probe.measure(subject.slices["test"][0])[1]
        return cls(detector, unseen, subject.without_reference(), features)

    @property
    def clean(self) -> Floats:
        return self.detector.scores(self.features)

    def caught(self, family: str, features: Rows) -> dict[str, float]:
        """Of rows that an attack turned, and what parts of the detector would do by themselves."""
        unseen, width = self.unseen[family], self.shorter.width
        clean_alone, trained_alone = (
            auroc(*pair)
            for pair in zip(
                self.detector.surprises(self.features),
                self.detector.surprises(features),
                strict=True,
            )
        )
        shorter = self.shorter.scores(self.features[:, :width])
        return {
            **_caught(self.detector, self.clean, self.detector.scores(features)),
            "auroc_unseen": auroc(unseen.scores(self.features), unseen.scores(features)),
            "auroc_clean_alone": clean_alone,
            "auroc_trained_alone": trained_alone,
            "auroc_without_reference": auroc(shorter, self.shorter.scores(features[:, :width])),
        }


def measure(subject: Subject, attacks: Sequence[Attack] = ATTACKS) -> dict[str, Any]:
    """Figures of one subject, by kind and name."""
    judges = Judges.of(subject)
    detector, clean = judges.detector, judges.clean
    x, y = subject.slices["test"]
    wrong = subject.probe.answers(x) != y
    return {
        "clean": {
            "accuracy": 1 - _share(wrong),
            "flagged": _share(clean > detector.threshold),
            "bound": detector.calibration.adversarial.bound,
            "at_least_suspect": _share(clean > detector.suspect_threshold),
            "suspect_bound": detector.calibration.suspect.bound,
            "errors": int(wrong.sum()),
            "errors_flagged": _share(clean[wrong] > detector.threshold),
        },
        "shifts": _shifts(subject, detector, x),
        "attacks": _attacks(subject, judges, attacks),
        "knowing": _knowing(subject, detector, clean, *subject.right),
    }


def _attacks(subject: Subject, judges: Judges, attacks: Sequence[Attack]) -> dict[str, Any]:
    """By name; and last, of each row the attack that scores least of those that turned it."""
    found: dict[str, Any] = {}
    worst = np.full(min(len(subject.right[0]), MANY), np.inf)
    for attack in attacks:
        if attack.images_only and not subject.source.image:
            continue
        before, after, classes = made(subject, attack)
        logits, features = subject.probe.measure(after)
        turned = logits.argmax(axis=1) != classes
        found[attack.name] = {"attacked": len(before), "turned": _share(turned)}
        if turned.any():
            found[attack.name] |= judges.caught(attack.family, features[turned])
            places = np.flatnonzero(turned)
            scores = judges.detector.scores(features[turned])
            worst[places] = np.minimum(worst[places], scores)
    ever = np.isfinite(worst)
    found[WORST] = {"attacked": len(worst), "turned": _share(ever)}
    if ever.any():
        found[WORST] |= _caught(judges.detector, judges.clean, worst[ever])
    return found


def _shifts(subject: Subject, detector: Detector, x: Rows) -> dict[str, float]:
    """How many rows are flagged under each benign change, and under noise as large as attacks."""
    generator = np.random.default_rng(100 + subject.seed)
    found = {
        name: _share(detector.scores(subject.probe.measure(moved)[1]) > detector.threshold)
        for name, moved in subject.probe.shifts(x, generator)
    }
    signs = np.where(generator.random(x.shape) < 0.5, -1, 1)
    noisy = np.clip(x + signs * subject.unit, 0, 1).astype(np.float32)
    scores = detector.scores(subject.probe.measure(noisy)[1])
    found["noise as large as the attacks"] = _share(scores > detector.threshold)
    return found


def _knowing(
    subject: Subject, detector: Detector, clean: Floats, x: Rows, y: Labels
) -> dict[str, float]:
    x, y = x[:KNOWING_ROWS], y[:KNOWING_ROWS]
    least = knowing.least_scores(subject, detector, x, y, knowing.RESTARTS, knowing.STEPS)
    return {
        "attacked": len(x),
        "turned": _share(np.isfinite(least)),
        "joint_at_threshold": _share(least <= detector.threshold),
        "joint_at_1_percent": _share(least <= _threshold(clean, 0.01)),
        "joint_at_5_percent": _share(least <= _threshold(clean, 0.05)),
    }


def _caught(detector: Detector, clean: Floats, scores: Floats) -> dict[str, float]:
    return {
        "auroc": auroc(clean, scores),
        "tpr_at_1_percent": _share(scores > _threshold(clean, 0.01)),
        "tpr_at_5_percent": _share(scores > _threshold(clean, 0.05)),
        "flagged": _share(scores > detector.threshold),
        "at_least_suspect": _share(scores > detector.suspect_threshold),
    }


def together(values: Sequence[float]) -> dict[str, float]:
    """Their mean, and half the width of its 95% interval (Student's t)."""
    found = {"mean": round(float(np.mean(values)), 4), "seeds": len(values)}
    if len(values) > 1:
        error = float(np.std(values, ddof=1)) / np.sqrt(len(values))
        found["plus_minus"] = round(_STUDENT[len(values) - 2] * float(error), 4)
    return found


def _threshold(clean: Floats, rate: float) -> float:
    return float(np.quantile(clean, 1 - rate, method="higher"))


def _share(chosen: npt.NDArray[np.bool_]) -> float:
    return round(float(np.mean(chosen)), 4) if len(chosen) else 0.0
