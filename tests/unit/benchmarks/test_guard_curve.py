"""The plot of what more prompts bring."""

from pathlib import Path

import pytest

from benchmarks.guard import curve


def test_each_classifier_has_a_panel_and_one_legend_names_the_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve, "RESULTS", tmp_path)
    sets = ("S-Labs", "neuralchemy", *curve.ALONE)
    curve.draw(
        [
            {"classifier": name, "prompts": count, **dict.fromkeys(sets, count / 20_000)}
            for count in (2_000, 4_000, 8_000, 16_000)
            for name in (curve.OURS, curve.TF_IDF)
        ]
    )
    drawn = (tmp_path / "guard.svg").read_text()
    assert drawn.count("<!-- seven languages -->") == 1
    assert drawn.count("<!-- 16,000 -->") == 2
