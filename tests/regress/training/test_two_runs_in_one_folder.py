"""Two runs of a recipe in one folder at once wrote their checkpoints over each other's, so that
what was gone on from could be half of one and half of the other.
"""

from pathlib import Path

import pytest

from sealgate.reasons import Reason, Refusal
from tests.support import recipes
from tests.support.runs import make, refused, without_graphs
from training import workshop


def test_the_second_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_graphs(monkeypatch)
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)
    inner: list[Refusal] = []

    def follow(*_: object) -> None:
        if not inner:
            inner.append(Refusal(Reason.INTERNAL))
            inner[0] = refused(recipe, tmp_path / "made")
        raise Refusal(Reason.STORAGE_FULL)

    with monkeypatch.context() as patch:
        patch.setattr(workshop, "follow", follow)
        assert refused(recipe, tmp_path / "made").reason is Reason.STORAGE_FULL
    assert inner[0].reason is Reason.RUN_FOREIGN
    # Whoever ended, however, is out of the way.
    (tmp_path / "made" / ".sealgate-run").touch()
    made = make(recipe, tmp_path / "made")
    assert not (tmp_path / "made" / ".sealgate-run").exists()
    assert (made.model / "provenance.json").exists()
