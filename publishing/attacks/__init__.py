"""Attacks and benign changes, with which a version's detector is fitted and its report is made."""

from publishing.attacks.image_attacks import ReportedProbe
from publishing.attacks.parted_rows import in_parts
from publishing.attacks.probe import Probe, Prober
from publishing.attacks.query_attacks import Asking, hop_skip_jump, square
from publishing.attacks.relative_probe import number_probe
from publishing.attacks.text_probe import MOST_REPORTED_TEXTS, TextProbe

__all__ = [
    "MOST_REPORTED_TEXTS",
    "Asking",
    "Probe",
    "Prober",
    "ReportedProbe",
    "TextProbe",
    "hop_skip_jump",
    "in_parts",
    "number_probe",
    "square",
]
