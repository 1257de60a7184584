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
from publishing.calibration.parted_rows import in_parts
from publishing.calibration.probe import Probe, Prober
from publishing.calibration.query_attacks import Asking, hop_skip_jump, square
from publishing.calibration.relative_probe import number_probe
from publishing.calibration.rounding_margin import TimedGraphs, least_margin
from publishing.calibration.screening_report import attack_names, change_names, report_of
from publishing.calibration.served_rows import (
    BORDER,
    BorderProber,
    ServedProber,
    ServedVectors,
    StagedProber,
)
from publishing.calibration.text_probe import MOST_REPORTED_TEXTS, TextProbe
from publishing.calibration.unshown_attacks import ReportedProbe

__all__ = [
    "BORDER",
    "LEAST_CALIBRATION_ROWS",
    "MOST_REPORTED_TEXTS",
    "Asking",
    "BorderProber",
    "FitRows",
    "Probe",
    "Prober",
    "ReportedProbe",
    "ServedProber",
    "ServedVectors",
    "StagedProber",
    "TextProbe",
    "TimedGraphs",
    "attack_fit_rows",
    "attack_names",
    "change_names",
    "choose_first_stage",
    "draft_detector",
    "hop_skip_jump",
    "in_parts",
    "least_margin",
    "number_probe",
    "recalibrated",
    "report_of",
    "set_thresholds",
    "square",
]
