"""An import never removes folders that it did not make."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from training.models.checkpoints import fetch, take_in


@pytest.fixture
def neighbours(tmp_path: Path) -> Path:
    for name in ("copy.new", "copy.hub"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text('{"model_type": "bert"}')
    save_file({"weight": np.ones(2, np.float32)}, source / "model.safetensors")
    return tmp_path


def _there(folder: Path) -> list[str]:
    assert (folder / "copy.new" / "mine").read_text() == "mine"
    assert (folder / "copy.hub" / "mine").read_text() == "mine"
    return sorted(entry.name for entry in folder.iterdir())


def test_an_import_leaves_neighbouring_folders(neighbours: Path) -> None:
    take_in(neighbours / "source", neighbours / "copy")
    assert _there(neighbours) == ["copy", "copy.hub", "copy.new", "source"]


def test_a_refused_import_leaves_nothing(neighbours: Path) -> None:
    (neighbours / "source" / "tokenizer.json").write_text("not JSON")
    with refused(Reason.CHECKPOINT_REFUSED):
        take_in(neighbours / "source", neighbours / "copy")
    assert _there(neighbours) == ["copy.hub", "copy.new", "source"]


def test_an_import_from_an_unreachable_hub_leaves_neighbouring_folders(
    neighbours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with refused(Reason.FILE_MISSING):
        fetch("owner/model", neighbours / "copy")
    assert _there(neighbours) == ["copy.hub", "copy.new", "source"]
    (neighbours / "copy").mkdir()
    with refused(Reason.RUN_FOREIGN):
        fetch("owner/model", neighbours / "copy")
