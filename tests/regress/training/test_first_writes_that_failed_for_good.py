"""A run that a full disk or a kill ended in its very first write was never gone on with: what that
left of the claim made the folder another's (`RUN_FOREIGN`).
"""

import errno
from pathlib import Path

import pytest

from sealgate.reasons import Reason
from tests.support import recipes
from tests.support.runs import make, refused, without_graphs
from training import storage


def test_are_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_graphs(monkeypatch)
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "fsync", full)
        assert refused(recipe, tmp_path / "made").reason is Reason.STORAGE_FULL
    assert (make(recipe, tmp_path / "made").model / "provenance.json").exists()
