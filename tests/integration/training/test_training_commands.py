"""`sealgate train` and `sealgate import` as people use them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

from sealgate.cli.main import main
from tests.support.builders.training import recipes
from training.run import finishing


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(autouse=True)
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports have tests of their own, and take seconds."""
    for name in ("export_serving", "export_response"):
        monkeypatch.setattr(finishing, name, lambda *_: b"")


def test_train_shows_progress_and_what_it_made(tmp_path: Path) -> None:
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)
    found = run("train", recipe, "--out", tmp_path / "made", "--json")
    assert found.exit_code == 0, found.output
    shown = json.loads(found.stdout)
    assert Path(shown["model"]) == tmp_path / "made" / "model"
    assert shown["accuracy"] > 0.5
    assert "20/20 steps, loss" in found.stderr
    assert " left" in found.stderr
    again = run("train", recipe, "--out", tmp_path / "made", "--json")
    assert json.loads(again.stdout) == shown
    assert "followed already" in again.stderr


def test_train_says_why_not(tmp_path: Path) -> None:
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN, "surprise = 1")
    found = run("train", recipe, "--out", tmp_path / "made")
    assert found.exit_code != 0
    assert "RECIPE_INVALID" in found.stderr
    assert "surprise" in found.stderr


def test_import_says_what_it_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text('{"model_type": "bert"}')
    (source / "modeling.py").write_text("raise SystemExit")
    save_file({"weight": np.ones(2, np.float32)}, source / "model.safetensors")
    found = run("import", source, "--out", tmp_path / "copy", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["files"] == 2
    assert "modeling.py" in found.stderr
    again = run("import", source, "--out", tmp_path / "copy")
    assert "RUN_FOREIGN" in again.stderr
