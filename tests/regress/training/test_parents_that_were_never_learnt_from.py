"""A run that was killed went on though its tokenizer, its teacher or the checkpoint that it began
from had been exchanged: what came out was made of both, and its provenance named one.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sealgate.reasons import Reason, Refusal
from tests.support import recipes
from tests.support.runs import refused
from tests.support.text_models import tokenizer_json
from training import students, teachers, workshop
from training.checkpoints import take_in
from training.encoder import Size, TextClassifier

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
def test_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    recipe = recipes.texts(tmp_path)
    recipe.write_text(_CHANGES[what](recipe.read_text()))
    _import(tmp_path, 1.0)

    def interrupted(*_: object) -> None:
        raise Refusal(Reason.STORAGE_FULL)

    def begun(_: Path, classes: int) -> TextClassifier:
        return TextClassifier(Size(128, 32, 8, 8, 1, 2), classes)

    monkeypatch.setattr(students, "encoder_from", begun)
    monkeypatch.setattr(teachers, "teach", interrupted)
    monkeypatch.setattr(workshop, "follow", interrupted)
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


def test_other_packages_end_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)

    def interrupted(*_: object) -> None:
        raise Refusal(Reason.STORAGE_FULL)

    monkeypatch.setattr(workshop, "follow", interrupted)
    assert refused(recipe, tmp_path / "made").reason is Reason.STORAGE_FULL
    monkeypatch.setattr("training.origin.version", lambda _: "0")
    assert refused(recipe, tmp_path / "made").reason is Reason.RUN_FOREIGN
