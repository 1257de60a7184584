"""A run of a recipe: what it leaves, what it goes on from, and what it is refused for."""

import errno
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from torch import nn

from inference.model.config import ModelConfig
from publishing.source.dataset import Dataset
from publishing.source.folder import Origin, SourceFolder
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from tests.support.builders.models.text_models import tokenizer_json
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make, refused, weights, without_graphs
from training.export.reference import CleanReference
from training.export.word_votes import WordVotes
from training.models.encoder import EncoderSize, TextClassifier
from training.run import finishing, origin
from training.run.finishing import FinishedRun
from training.run.recipe_run import RecipeRun
from training.steps import descent
from training.steps.progress import TrainingCurves

pytestmark = pytest.mark.slow

_FORK = multiprocessing.get_context("fork")
GRAPHS = ("serving.onnx", "response.onnx")


def graphs(made: FinishedRun) -> list[str]:
    return [sha256((made.model / name).read_bytes()) for name in GRAPHS]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The weights that the recipe of `whole` leads to."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        without_graphs(patch)
        return graphs(make(recipes.digits(folder), folder / "made"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A student of boosted trees, distilled and quantized in training, without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    return make(recipes.digits(folder), folder / "made")


def test_what_is_made_can_be_published_and_has_learnt(whole: FinishedRun) -> None:
    source, data = SourceFolder.read(whole.model), Dataset.read(whole.data)
    data.check(source.config)
    session = onnxruntime.InferenceSession(source.serving, providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": data.test.x})[0].argmax(1) == data.test.y
    assert right.mean() == pytest.approx(whole.report["accuracy"])
    assert right.mean() > 0.8


def test_loss_falls_and_is_plotted(whole: FinishedRun) -> None:
    out = whole.model.parent
    points = TrainingCurves(out / "curves.jsonl").read()
    first = [point for point in points if point.step == 1]
    assert first[-1].loss < first[0].loss / 2
    assert [point.kind for point in points[-2:]] == ["quantize", "quantize"]
    assert points[-1].accuracy > 0.8
    names = {"accuracy.svg", "loss.svg", "reliability.svg"}
    assert {path.name for path in (out / "plots").iterdir()} == names
    assert not (out / "run").exists()


def test_the_provenance_names_all_that_went_in(whole: FinishedRun) -> None:
    statement = json.loads((whole.model / "provenance.json").read_bytes())
    subjects = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
    assert subjects == {
        path.name: sha256(path.read_bytes())[7:]
        for path in whole.model.iterdir()
        if path.name != "provenance.json"
    }
    definition = statement["predicate"]["buildDefinition"]
    given = definition["externalParameters"]
    recipe = whole.model.parent.parent / "recipe.toml"
    assert given["recipe_digest"] == sha256(recipe.read_bytes())
    assert (given["seed"], given["recipe"]["data"]["labels"]) == (3, 300)
    named = {item.get("name", item.get("uri")) for item in definition["resolvedDependencies"]}
    assert "data: digits" in named
    assert any(name.startswith("pkg:pypi/torch@") for name in named)
    assert definition["internalParameters"]["code"] == origin.code_digest()
    assert str(whole.model.parent) not in json.dumps(statement)


@pytest.mark.long
def test_the_same_recipe_gives_the_same_graphs(whole: FinishedRun, tmp_path: Path) -> None:
    assert graphs(make(recipes.digits(tmp_path), tmp_path / "again")) == graphs(whole)


@pytest.mark.long
@pytest.mark.usefixtures("unexported")
def test_another_seed_gives_other_weights(uninterrupted: list[str], tmp_path: Path) -> None:
    recipe = recipes.digits(tmp_path)
    recipe.write_text(recipe.read_text().replace("seed = 3", "seed = 4"))
    assert graphs(make(recipe, tmp_path / "other")) != uninterrupted


class Death:
    """Kills the process at the call number `last`, before or after what is called."""

    def __init__(self, work: Callable[..., None], last: int, before: bool) -> None:
        self._work, self._left, self._before = work, last, before

    def __call__(self, *given: object) -> None:
        self._left -= 1
        if self._left == 0 and self._before:
            os.kill(os.getpid(), signal.SIGKILL)
        self._work(*given)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(recipe: Path, out: Path, arm: Callable[[], None]) -> None:
    def run() -> None:
        arm()
        make(recipe, out)

    process = _FORK.Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.usefixtures("unexported")
@pytest.mark.parametrize("before", [True, False], ids=["half-way", "after"])
@pytest.mark.parametrize("last", [2, 21], ids=["distil", "quantize"])
def test_a_killed_run_goes_on_to_the_same_weights(
    uninterrupted: list[str], tmp_path: Path, last: int, before: bool
) -> None:
    recipe, out = recipes.digits(tmp_path), tmp_path / "made"

    def arm() -> None:
        descent.keep_checkpoint = Death(descent.keep_checkpoint, last, before)

    killed(recipe, out, arm)
    assert not (out / "model").exists()
    (out / "run").joinpath("new").mkdir(exist_ok=True)
    seen = []
    made = RecipeRun(recipe, out, lambda step, news: seen.append((step, news))).make()
    assert graphs(made) == uninterrupted
    # It did go on: what was done is not done again.
    assert seen[0][0] == ("distil" if last == 2 else "quantize")
    told = [point.done for point in TrainingCurves(out / "curves.jsonl").read() if point.step == 1]
    assert told == sorted(set(told))


@pytest.mark.usefixtures("unexported")
def test_a_run_killed_at_the_end_appears_whole(uninterrupted: list[str], tmp_path: Path) -> None:
    recipe, out = recipes.digits(tmp_path), tmp_path / "made"

    def arm() -> None:
        finishing.write_whole = Death(finishing.write_whole, 1, before=True)

    killed(recipe, out, arm)
    assert not (out / "model").exists()
    assert graphs(make(recipe, out)) == uninterrupted
    assert graphs(make(recipe, out)) == uninterrupted


def test_what_another_recipe_made_is_left_alone(whole: FinishedRun, tmp_path: Path) -> None:
    out = whole.model.parent
    other = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)
    assert refused(other, out).reason is Reason.RUN_FOREIGN
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert refused(other, tmp_path / "full").reason is Reason.RUN_FOREIGN


@pytest.mark.usefixtures("unexported")
def test_a_full_disk_is_said_and_gone_on_from(
    uninterrupted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = recipes.digits(tmp_path), tmp_path / "made"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("accelerate.Accelerator.save_state", full)
        assert refused(recipe, out).reason is Reason.STORAGE_FULL
    assert not (out / "model").exists()
    assert graphs(make(recipe, out)) == uninterrupted


def test_a_loss_that_is_no_number_publishes_nothing(tmp_path: Path) -> None:
    steep = recipes.TRAIN.replace("4e-3", "1e30")
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, steep)
    assert refused(recipe, tmp_path / "made").reason is Reason.LOSS_NOT_FINITE
    assert not (tmp_path / "made" / "model").exists()


def test_texts_are_learnt_under_their_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[object] = []

    def noted(student: nn.Module, *given: object) -> bytes:
        described.extend(given)
        return weights(student)

    # A text model's response graph takes longest of all; tests of its export have it.
    monkeypatch.setattr(finishing, "export_text_response", noted)
    made = make(recipes.texts(tmp_path), tmp_path / "made")
    data = Dataset.read(made.data)
    data.check(ModelConfig.read((made.model / "model.json").read_bytes()))
    assert (made.model / "tokenizer.json").read_bytes() == tokenizer_json()
    serving = made.model / "serving.onnx"
    session = onnxruntime.InferenceSession(serving, providers=["CPUExecutionProvider"])
    fed = {
        "input_ids": data.test.x.clip(min=0).astype(np.int64),
        "attention_mask": (data.test.x >= 0).astype(np.int64),
    }
    right = session.run(None, fed)[0].argmax(1) == data.test.y
    assert right.mean() == pytest.approx(made.report["accuracy"])
    assert right.mean() > 0.8
    assert [type(each) for each in described] == [CleanReference, WordVotes]


def test_training_texts_that_are_private_or_elsewhere_are_not_described() -> None:
    """Neither by moments of their vectors nor by counts of their words."""
    student = TextClassifier(EncoderSize(12, 8, 8, 8, 1, 2), 2).eval()
    rows, y = np.arange(48).reshape(12, 4) % 12, np.arange(12) % 2
    read = SimpleNamespace(tokenizer=b"", tokens=SimpleNamespace(vocabulary=12), names=("a", "b"))
    material: Any = SimpleNamespace(labelled=(rows, y), read=read)
    for federated, privacy, told in (
        (None, None, True),
        (None, {"epsilon": 2.0}, False),
        ({"rounds": 1}, None, False),
    ):
        went_in: Any = SimpleNamespace(federated=federated, privacy=privacy)
        found = finishing.described_version(student, material, went_in)
        assert [each is not None for each in found] == [told, told]


@pytest.mark.usefixtures("unexported")
def test_a_private_run_states_its_budget(tmp_path: Path) -> None:
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.PRIVATE)
    made = make(recipe, tmp_path / "made")
    origin = Origin.decode((made.model / "provenance.json").read_bytes())
    privacy = origin.privacy()
    assert privacy is not None
    assert privacy == made.report["privacy"]
    assert 0 < privacy["epsilon"] <= 2.0
    assert dict(origin.facts())["sealgate:privacy:delta"] == "0.001"


@pytest.mark.usefixtures("unexported")
def test_a_graph_teaches(whole: FinishedRun, tmp_path: Path) -> None:
    teacher = f'[teacher]\nkind = "graph"\npath = "{whole.model}"\n'
    recipe = recipes.digits(tmp_path, teacher, recipes.PERCEPTRON, recipes.DISTIL)
    made = make(recipe, tmp_path / "made")
    statement = json.loads((made.model / "provenance.json").read_bytes())
    listed = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    parents = [item for item in listed if item.get("name") == "parent: teacher"]
    assert parents[0]["digest"]["sha256"] == graphs(whole)[0][7:]
