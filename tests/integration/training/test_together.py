"""A recipe's steps that several processes share: what they reach, and what ends them."""

import json
import multiprocessing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from sealgate.reasons import Reason
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make, refused, without_graphs
from tests.support.fakes.dying_objective import FAILED, KILLED, DyingObjective
from training.recipe.sections import DATA, SPLITS, TENSOR
from training.run.finishing import FinishedRun
from training.run.recipe_run import RecipeRun
from training.steps import runner
from training.steps.descent import StepProgress
from training.steps.progress import TrainingCurves

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unexported")]
ADAPTIVE = recipes.DISTIL.replace("epochs = 8", "epochs = 3") + "adaptive = true\n"


def devices(split: str) -> str:
    return f'[devices]\nprocesses = 2\nsplit = "{split}"\n'


def digits(folder: Path, *more: str) -> Path:
    folder.mkdir(exist_ok=True)
    return recipes.digits(folder, recipes.BOOSTED, recipes.PERCEPTRON, ADAPTIVE, *more)


def weights_of(made: FinishedRun) -> dict[str, torch.Tensor]:
    return load((made.model / "serving.onnx").read_bytes())


def losses(made: FinishedRun) -> list[float]:
    return [point.loss for point in TrainingCurves(made.model.parent / "curves.jsonl").read()]


def assert_near(one: FinishedRun, other: FinishedRun) -> None:
    assert len(losses(one)) > 10
    assert losses(other) == pytest.approx(losses(one), abs=1e-4)
    mine, theirs = weights_of(one), weights_of(other)
    for name, value in mine.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-3, rtol=0)


@pytest.fixture(scope="module", params=SPLITS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, FinishedRun]:
    """A split, and what two processes make by it without interruption."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        without_graphs(patch)
        return request.param, make(digits(folder, devices(request.param)), folder / "made")


def test_two_processes_reach_what_one_does(shared: tuple[str, FinishedRun], tmp_path: Path) -> None:
    split, together = shared
    assert_near(make(digits(tmp_path), tmp_path / "alone"), together)
    statement = json.loads((together.model / "provenance.json").read_bytes())
    recipe = statement["predicate"]["buildDefinition"]["externalParameters"]["recipe"]
    assert recipe["devices"]["processes"] == 2
    assert recipe["devices"]["split"] == split


def test_a_killed_process_ends_the_run_which_then_goes_on(
    shared: tuple[str, FinishedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, uninterrupted = shared
    recipe, out, fate = digits(tmp_path, devices(split)), tmp_path / "made", tmp_path / "fate"
    end_by(fate, KILLED, monkeypatch)
    refusal = refused(recipe, out)
    assert refusal.reason is Reason.PROCESS_LOST
    assert refusal.detail == "process 2 of 2: ended by SIGKILL"
    assert not multiprocessing.active_children()
    assert not (out / "model").exists()
    fate.unlink()
    seen: list[StepProgress] = []
    told = RecipeRun(recipe, out, lambda _, news: seen.append(news)).make()
    assert seen[0].done > seen[0].total // 4
    mine, theirs = weights_of(told), weights_of(uninterrupted)
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def end_by(fate: Path, how: str, patch: pytest.MonkeyPatch) -> None:
    fate.write_text(how)
    objective = runner.objective_of
    patch.setattr(runner, "objective_of", lambda *given: DyingObjective(objective(*given), fate))


def test_what_a_process_failed_of_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_by(tmp_path / "fate", FAILED, monkeypatch)
    refusal = refused(digits(tmp_path, devices(DATA)), tmp_path / "made")
    assert refusal.reason is Reason.PROCESS_LOST
    assert refusal.detail == "process 2 of 2: ArithmeticError: no more"


def test_a_loss_that_is_no_number_is_said_as_by_one(tmp_path: Path) -> None:
    steep = recipes.TRAIN.replace("4e-3", "1e30")
    recipe = recipes.digits(tmp_path, recipes.PERCEPTRON, steep, devices(DATA))
    assert refused(recipe, tmp_path / "made").reason is Reason.LOSS_NOT_FINITE


def test_an_encoder_s_heads_are_split(tmp_path: Path) -> None:
    made = []
    for name, more in (("alone", ""), ("together", devices(TENSOR))):
        (tmp_path / name).mkdir()
        recipe = recipes.texts(tmp_path / name)
        recipe.write_text(recipe.read_text().replace("epochs = 10", "epochs = 4") + more)
        made.append(make(recipe, tmp_path / name / "made"))
    assert_near(*made)


def test_what_does_not_come_apart_is_refused(tmp_path: Path) -> None:
    odd = recipes.PERCEPTRON.replace("128", "127")
    recipe = recipes.digits(tmp_path, odd, recipes.TRAIN, devices(TENSOR))
    assert refused(recipe, tmp_path / "made").reason is Reason.RECIPE_INVALID
