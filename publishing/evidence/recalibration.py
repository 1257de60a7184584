"""Report of what a recalibration changes, for those who approve it.

Thresholds that rest on traffic are worth what the traffic is worth. Attacks in it raise them: the
upper threshold is the score at a certain rank, so that many hostile vectors with the highest scores
set it, and similar ones pass afterwards. The report therefore says how many vectors that takes and
how many the earlier version flagged, and compares what both versions flag of the fit slice, clean
and under the attacks used in publishing. The earlier version has the same data, so the comparison
is fair.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.engine import version_contents
from inference.screening.calibration import Floats as Scores
from inference.screening.detector import Detector
from publishing.attacks import Prober
from publishing.calibration import FitRows
from publishing.evidence.measurements import CHANGED, RECALIBRATION, VersionReport
from publishing.source.dataset import Dataset


def changes(prober: Prober, earlier: Detector, detector: Detector, seen: FitRows) -> dict[str, Any]:
    """The shares of the fit slice's rows that each of both detectors finds something in: of the
    clean ones, and by attack of those whose answer it turned. `prober` measures the new version,
    whose mark is another; that changes less than the effect that is looked for.
    """
    return {
        "clean": _shares(earlier, detector, prober.measure(seen.clean.rows)[1]),
        "attacks": {
            name: _shares(earlier, detector, prober.measure(part.rows)[1])
            for name, part in seen.harmful.items()
        },
    }


def _shares(
    earlier: Detector, detector: Detector, features: npt.NDArray[np.float32]
) -> dict[str, float]:
    before, now = earlier.scores(features), detector.scores(features)
    found = (
        _above(before, earlier.threshold),
        _above(now, detector.threshold),
        _above(before, earlier.suspect_threshold),
        _above(now, detector.suspect_threshold),
    )
    shares = (round(each / len(features), 4) for each in found)
    return dict(zip(CHANGED, shares, strict=True))


def _above(scores: Scores, threshold: float) -> int:
    """How many scores [n] are; what is not a number is."""
    return int((~(scores <= threshold)).sum())


def with_traffic(report: VersionReport, data: Dataset, files: Mapping[str, bytes]) -> VersionReport:
    """The report on the version of these files; where its thresholds stand on traffic, with what is
    to be said of that.

    `distinct` are the vectors that count; `hostile_that_decide` is how many of these, if they score
    above all others, are what a threshold stands on; `flagged_could_decide` is whether as many were
    flagged.
    """
    traffic, earlier = data.traffic, data.earlier
    if traffic is None or earlier is None:
        return report
    scores, limits = (
        earlier.scores(traffic),
        Detector.decode(files[version_contents.DETECTOR]).calibration,
    )
    flagged = _above(scores, earlier.threshold)
    told = {
        "vectors": data.vectors,
        "distinct": len(traffic),
        "flagged_before": flagged,
        "at_least_suspect_before": _above(scores, earlier.suspect_threshold),
        "flagged_could_decide": flagged >= limits.adversarial.rank,
        "hostile_that_decide": {
            "adversarial": limits.adversarial.rank,
            "suspect": limits.suspect.rank,
        },
    }
    screening = report.measured.screening
    screening = {**screening, RECALIBRATION: {**told, **screening[RECALIBRATION]}}
    return replace(report, measured=replace(report.measured, screening=screening))


def summary(screening: Mapping[str, Any]) -> dict[str, object]:
    """The same for a terminal; empty where there was no recalibration."""
    told = screening.get(RECALIBRATION)
    if told is None:
        return {}
    deciding, suspect = told["hostile_that_decide"], told["at_least_suspect_before"]
    lines: dict[str, object] = {
        "traffic": f"{told['vectors']} vectors, {told['distinct']} distinct",
        "flagged_before": f"{told['flagged_before']}, {suspect} at least suspect",
        "set_the_threshold": f"{deciding['adversarial']} hostile vectors of {told['distinct']}, "
        f"{deciding['suspect']} that of suspect"
        + ("; AS MANY WERE FLAGGED" if told["flagged_could_decide"] else ""),
    }
    for name, shares in {"clean": told["clean"], **told["attacks"]}.items():
        now, before = shares["flagged"], shares["flagged_before"]
        lines[f"flagged_of_{name}"] = f"{now:.1%}, before {before:.1%}"
    return lines
