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


def test_what_passes_is_turned_and_not_flagged() -> None:
    found = passed(NUMBERS)
    assert list(found) == ["who knows everything", WORST, "FGSM", "CW"]
    assert list(found.values()) == pytest.approx([0.75, 0.8, 0.3, 0.0])


def test_each_model_has_a_column(tmp_path: Path) -> None:
    draw([NUMBERS, NUMBERS | {"model": "hardened"}], tmp_path / "limits.svg")
    drawn = (tmp_path / "limits.svg").read_text()
    assert [drawn.count(f"<!-- {name} -->") for name in ("75", "80", "30", "hardened")] != [0] * 4
    assert all(f"<!-- {name} -->" in drawn for name in ("75", "80", "30"))
