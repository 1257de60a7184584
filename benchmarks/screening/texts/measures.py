"""What is measured of one text model: as of numbers (`benchmarks.screening.measures`), but that
nobody is given steps along the detector's own gradient, which lead to no text.

What the detector was not shown, it has not seen; of what it was, "unseen" is the part that has
seen no attack at all.
"""

from typing import Any

import numpy as np

from benchmarks.screening.measures import WORST, alarms, share, tell
from benchmarks.screening.texts import knowing
from benchmarks.screening.texts.attacks import TEXT_ATTACKS, made
from benchmarks.screening.texts.subjects import Floats, TextSubject
from inference.screening.detector import Detector
from inference.text.tokens import Ids
from publishing.calibration.screening_report import auroc
from publishing.calibration.text_probe import SHARES


def measure(subject: TextSubject) -> dict[str, Any]:
    """Figures of one subject, by kind and name."""
    detector, x = subject.detector(), subject.rows["test"]
    logits, features = subject.probe.measure(x)
    clean = detector.scores(features)
    wrong = logits.argmax(axis=1) != subject.slices["test"].classes
    return {
        "clean": alarms(detector, clean, wrong),
        "shifts": _shifts(subject, detector, x),
        "attacks": _attacks(subject, detector, features),
        "knows_the_words": knowing.measure(subject, detector, clean),
    }


def _attacks(subject: TextSubject, detector: Detector, features: Floats) -> dict[str, Any]:
    """By name; and last, of each text the attack that scores least of those that turned it."""
    clean, clean_parts = detector.scores(features), detector.surprises(features)
    found: dict[str, Any] = {}
    worst = np.full(len(subject.right[0]), np.inf)
    for attack in TEXT_ATTACKS:
        before, after, y = made(subject, attack)
        logits, moved = subject.probe.measure(after)
        places = np.flatnonzero(logits.argmax(axis=1) != y)
        found[attack.name] = {
            "attacked": len(before),
            "turned": round(len(places) / len(before), 4),
        }
        worst = worst[: len(before)]
        if len(places):
            scores = detector.scores(moved[places])
            parts = zip(clean_parts, detector.surprises(moved[places]), strict=True)
            alone = [auroc(*pair) for pair in parts]
            found[attack.name] |= tell(detector, clean, scores) | {
                "auroc_unseen": alone[0] if attack.shown else auroc(clean, scores),
                "auroc_clean_alone": alone[0],
                "auroc_trained_alone": alone[1],
            }
            worst[places] = np.minimum(worst[places], scores)
    ever = np.isfinite(worst)
    found[WORST] = {"attacked": len(worst), "turned": share(ever)}
    if ever.any():
        found[WORST] |= tell(detector, clean, worst[ever])
    return found


def _shifts(subject: TextSubject, detector: Detector, x: Ids) -> dict[str, float]:
    """How many texts are flagged under each benign change, and where as many words are exchanged
    at random as an attack exchanges at most.
    """
    generator = np.random.default_rng(100 + subject.seed)
    moved = dict(subject.probe.shifts(x, generator))
    moved["noise as large as the attacks"] = subject.probe.probe.noise(x, SHARES[-1], generator)
    return {
        name: share(detector.scores(subject.probe.measure(rows)[1]) > detector.threshold)
        for name, rows in moved.items()
    }
