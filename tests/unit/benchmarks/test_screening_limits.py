"""What gets past screening, as it is drawn."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.screening.limits_plot import draw, passed
from benchmarks.screening.measures import WORST


def mean(value: float) -> dict[str, float]:
    return {"mean": value, "seeds": 5}


NUMBERS: dict[str, Any] = {
    "data": "digits",
    "model": "plain",
    "knowing": {"joint_at_threshold": mean(0.75)},
    "attacks": {
        "FGSM": {"turned": mean(0.5), "flagged": mean(0.4)},
        "CW": {"turned": mean(0.0)},
        WORST: {"turned": mean(1.0), "flagged": mean(0.2)},
    },
}
TEXTS = {key: value for key, value in NUMBERS.items() if key != "knowing"} | {"data": "letters"}


def test_what_passes_is_turned_and_not_flagged() -> None:
    found = passed(NUMBERS)
    assert list(found) == ["who knows everything", WORST, "FGSM", "CW"]
    assert list(found.values()) == pytest.approx([0.75, 0.8, 0.3, 0.0])
    assert "who knows everything" not in passed(TEXTS)


def test_numbers_and_texts_are_tables_of_their_own(tmp_path: Path) -> None:
    sizes = []
    for rows in ([NUMBERS], [NUMBERS, TEXTS]):
        draw(rows, tmp_path / "limits.svg")
        sizes.append((tmp_path / "limits.svg").read_text().count('id="axes_'))
    assert sizes == [1, 2]
