"""A resumed run goes on only with the same inputs, and reads what the killed run had written."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.text_models import tokenizer_json
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make, refused, without_graphs
from training import data
from training.models import students
from training.models.checkpoints import take_in
from training.models.encoder import EncoderSize, TextClassifier
from training.run import recipe_run
from training.steps import teachers
from training.steps.progress import CurvePoint, TrainingCurves

_PARENT = "path = 'parent'\n"
_CHANGES = {
    "tokenizer": lambda text: text,
    "teacher": lambda text: text.replace(
        "[student]", f"[teacher]\nkind = 'checkpoint'\n{_PARENT}[student]"
    ).replace('kind = "train"', 'kind = "distil"'),
    "student": lambda text: text.replace("[student]", f"[student]\n{_PARENT}"),
}


def _import(folder: Path, weight: float) -> None:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "config.json").write_text('{"model_type": "bert"}')
    (source / "tokenizer.json").write_bytes(tokenizer_json())
    save_file({"weight": np.full(2, weight, np.float32)}, source / "model.safetensors")
    shutil.rmtree(folder / "parent", ignore_errors=True)
    take_in(source, folder / "parent")


@pytest.mark.parametrize("what", _CHANGES)
def test_a_changed_input_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    recipe = recipes.texts(tmp_path)
    recipe.write_text(_CHANGES[what](recipe.read_text()))
    _import(tmp_path, 1.0)

    def interrupted(*_: object) -> None:
        raise SealgateError(Reason.STORAGE_FULL)

    def begun(_: Path, classes: int, first_layers: int) -> TextClassifier:
        return TextClassifier(EncoderSize(128, 32, 8, 8, 1, 2), classes)

    monkeypatch.setattr(students, "encoder_from", begun)
    monkeypatch.setattr(teachers, "teach", interrupted)
    monkeypatch.setattr(recipe_run, "follow", interrupted)
    for _ in range(2):
        assert refused(recipe, tmp_path / "made").reason is Reason.STORAGE_FULL
    if what == "tokenizer":
        place = tmp_path / "tokenizer.json"
        place.write_text(json.dumps(json.loads(place.read_bytes()), indent=1))
    else:
        _import(tmp_path, 2.0)
    found = refused(recipe, tmp_path / "made")
    assert found.reason is Reason.RUN_FOREIGN
    assert what in found.detail


def test_changed_packages_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)

    def interrupted(*_: object) -> None:
        raise SealgateError(Reason.STORAGE_FULL)

    monkeypatch.setattr(recipe_run, "follow", interrupted)
    assert refused(recipe, tmp_path / "made").reason is Reason.STORAGE_FULL
    monkeypatch.setattr("training.run.origin.version", lambda _: "0")
    assert refused(recipe, tmp_path / "made").reason is Reason.RUN_FOREIGN


def test_a_run_that_failed_in_its_first_write_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_graphs(monkeypatch)
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(data.os, "fsync", full)
        assert refused(recipe, tmp_path / "made").reason is Reason.STORAGE_FULL
    assert (make(recipe, tmp_path / "made").model / "provenance.json").exists()


def test_a_second_run_in_one_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_graphs(monkeypatch)
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)
    inner: list[SealgateError] = []

    def follow(*_: object) -> None:
        if not inner:
            inner.append(SealgateError(Reason.INTERNAL))
            inner[0] = refused(recipe, tmp_path / "made")
        raise SealgateError(Reason.STORAGE_FULL)

    with monkeypatch.context() as patch:
        patch.setattr(recipe_run, "follow", follow)
        assert refused(recipe, tmp_path / "made").reason is Reason.STORAGE_FULL
    assert inner[0].reason is Reason.RUN_FOREIGN
    # A run that ended does not block the next.
    (tmp_path / "made" / ".sealgate-run").touch()
    made = make(recipe, tmp_path / "made")
    assert not (tmp_path / "made" / ".sealgate-run").exists()
    assert (made.model / "provenance.json").exists()


def test_points_after_a_cut_line_are_read(tmp_path: Path) -> None:
    curves, points = (
        TrainingCurves(tmp_path / "curves.jsonl"),
        [CurvePoint(1, "train", at, 0.5) for at in (1, 2)],
    )
    curves.add(points[0])
    with (tmp_path / "curves.jsonl").open("a") as file:
        file.write('{"step": 1, "ki')
    curves.add(points[1])
    assert curves.read() == points
