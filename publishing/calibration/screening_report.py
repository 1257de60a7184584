"""The screening report: what a detector catches and what it disturbs, on rows that it never saw.

The report is evidence for a version. Attacks count if they changed the answer. Benign changes are
reported too, since a detector of noise would look good on attacks alone.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from inference.model.config import CLASSES
from inference.model.decisions import Decision
from inference.screening.calibration import Floats
from inference.screening.detector import Detector
from publishing.attacks import Prober, text_probe
from publishing.attacks import probe as probe_names
from publishing.attacks.image_changes import CHANGES
from publishing.attacks.probe import Array
from publishing.attacks.probe import Floats as Floats32


def attack_names(of_text: bool) -> tuple[str, ...]:
    """The attacks that a report tells of beside BORDER, on texts or on numbers."""
    return (text_probe if of_text else probe_names).ATTACKS


def change_names(of_text: bool, shown: Collection[str]) -> tuple[str, ...]:
    """The benign changes that a report tells of: those of images, too, if it is `shown` one."""
    images = not of_text and CHANGES[0] in shown
    return (*(text_probe if of_text else probe_names).SHIFTS, *(CHANGES if images else ()))


def report_of(
    probe: Prober,
    detector: Detector,
    x_test: Array,
    generator: np.random.Generator,
    decision: Decision = CLASSES,
) -> dict[str, Any]:
    """Return a JSON value: false alarms on clean rows and under each benign change, and what is
    caught of each attack.

    `auroc`, `caught_at_1_percent` and `caught_at_5_percent` set the threshold on these test rows,
    to compare with what others report; `flagged` and `at_least_suspect` use the detector's own
    thresholds; `succeeded` is the share of rows whose answer the attack changed. Where there is a
    first stage, `goes_on` is the share that it does not decide on, and `auroc_graph` what the
    response graph would reach by deciding on all. Where the detector compares answers, `disagrees`
    is the share that is answered otherwise than by the float32 model.
    """
    own, seen = probe.measure(x_test)
    clean = detector.scores(seen)
    report: dict[str, Any] = {
        "rows": len(x_test),
        "clean": _flags(detector, clean) | _parts(detector, seen),
        "shifts": {},
        "attacks": {},
    }
    for name, moved in probe.shifts(x_test, generator):
        logits, features = probe.measure(moved)
        report["shifts"][name] = {
            "answers_changed": _share(decision.changed(own, logits)),
            **_flags(detector, detector.scores(features)),
            **_parts(detector, features),
        }
    for name, moved in probe.attacks(x_test, generator):
        logits, features = probe.measure(moved)
        changed = decision.changed(own, logits)
        found = {"succeeded": _share(changed)}
        if changed.any():
            found |= _caught(detector, clean, detector.scores(features[changed]))
            found |= _compared(detector, seen, features[changed])
        report["attacks"][name] = found
    return report


def _parts(detector: Detector, features: Floats32) -> dict[str, float]:
    """How many rows go on, and on how many the answers disagree."""
    found = {}
    if detector.first is not None:
        found["goes_on"] = _share(detector.escalates(features))
    if detector.disagreement is not None:
        found["disagrees"] = _share(features[:, -1] != 0)
    return found


def _compared(detector: Detector, seen: Floats32, features: Floats32) -> dict[str, float]:
    """The same of attacked rows, and the response graph alone on clean rows and on these."""
    found = _parts(detector, features)
    if detector.first is not None:
        alone = detector.graph_scores(seen), detector.graph_scores(features)
        found["auroc_graph"] = auroc(*alone)
    return found


def _caught(detector: Detector, clean: Floats, scores: Floats) -> dict[str, float]:
    return {
        "auroc": auroc(clean, scores),
        "caught_at_1_percent": _share(scores > np.quantile(clean, 0.99, method="higher")),
        "caught_at_5_percent": _share(scores > np.quantile(clean, 0.95, method="higher")),
        **_flags(detector, scores),
    }


def auroc(negative: Floats, positive: Floats) -> float:
    """The chance that a positive scores above a negative, ties counting half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    level = np.searchsorted(ordered, positive, side="right") - below
    return _rounded(float(np.mean(below + level / 2)) / len(negative))


def _flags(detector: Detector, scores: Floats) -> dict[str, float]:
    return {
        "flagged": _share(scores > detector.threshold),
        "at_least_suspect": _share(scores > detector.suspect_threshold),
    }


def _share(chosen: np.ndarray) -> float:
    return _rounded(float(np.mean(chosen)))


def _rounded(value: float) -> float:
    return round(value, 4)
