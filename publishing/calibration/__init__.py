"""Calibration: fits a version's detector and measures it with attacks and benign changes."""

from publishing.calibration.detector_fit import (
    LEAST_CALIBRATION_ROWS,
    FitRows,
    attack_fit_rows,
    draft_detector,
    recalibrated,
    set_thresholds,
)
from publishing.calibration.first_stage_choice import choose_first_stage
from publishing.calibration.rounding_margin import TimedGraphs, least_margin
from publishing.calibration.screening_report import attack_names, change_names, report_of
from publishing.calibration.served_rows import (
    BORDER,
    BorderProber,
    ServedProber,
    ServedVectors,
    StagedProber,
)

__all__ = [
    "BORDER",
    "LEAST_CALIBRATION_ROWS",
    "BorderProber",
    "FitRows",
    "ServedProber",
    "ServedVectors",
    "StagedProber",
    "TimedGraphs",
    "attack_fit_rows",
    "attack_names",
    "change_names",
    "choose_first_stage",
    "draft_detector",
    "least_margin",
    "recalibrated",
    "report_of",
    "set_thresholds",
]
