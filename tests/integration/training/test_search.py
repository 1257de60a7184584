"""A student is looked for under a budget: what is tried and found, and what is gone on from."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from publishing.source.folder import Origin
from sealgate.reasons import Reason
from tests.support.builders.models import text_models
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make, refused, weights
from training.recipe.recipe import Recipe
from training.run.finishing import FinishedRun
from training.run.recipe_run import RecipeRun
from training.steps import search
from training.steps.search import StudentSearch

pytestmark = pytest.mark.slow

SEARCH = """
[search]
trials = 5
epochs = 2
megabytes = 0.05
layers = [1, 2, 3]
width = [8, 32, 128]
"""
TRAIN = '[[steps]]\nkind = "train"\nepochs = 5\nlearning_rate = 4e-3\n'


@pytest.fixture(autouse=True)
def unexported(unexported: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of weights in the place of the graphs that are weighed, too."""
    for name in ("export_serving", "export_text_serving"):
        monkeypatch.setattr(search, name, weights)


def looked_for(folder: Path, asked: str = SEARCH) -> Path:
    return recipes.digits(folder, '[student]\nkind = "perceptron"\nwidth = 8', TRAIN, asked)


@pytest.fixture
def found(tmp_path: Path) -> FinishedRun:
    return make(looked_for(tmp_path), tmp_path / "made")


def test_the_best_within_the_budget_is_trained(found: FinishedRun) -> None:
    told = found.report["search"]
    trials = told["trials"]
    assert len(trials) == 5
    assert len({tuple(trial["settings"].values()) for trial in trials}) == 5
    # The recipe's own comes first.
    assert trials[0]["settings"] == {"layers": 2, "width": 8}
    for trial in trials:
        assert (trial["accuracy"] is None) == (trial["megabytes"] > 0.05)
    best = max(trial["accuracy"] or 0.0 for trial in trials)
    (chosen,) = [trial for trial in trials if trial["settings"] == told["found"]]
    assert chosen["accuracy"] == best > trials[0]["accuracy"]
    layers, width = told["found"].values()
    sizes = [64, *[width] * layers, 10]
    assert found.report["parameters"] == sum((one + 1) * other for one, other in pairwise(sizes))


def test_the_found_recipe_trains_as_any_other(found: FinishedRun, tmp_path: Path) -> None:
    path = found.model.parent / "student.toml"
    assert Recipe.read(path).search.trials == 0
    again = make(path, tmp_path / "again")
    for name in ("serving.onnx", "model.json"):
        assert (again.model / name).read_bytes() == (found.model / name).read_bytes()
    assert "search" not in again.report


def test_every_trial_stands_in_the_provenance(found: FinishedRun) -> None:
    data = (found.model / "provenance.json").read_bytes()
    Origin.decode(data)
    definition = json.loads(data)["predicate"]["buildDefinition"]
    assert definition["internalParameters"]["search"] == found.report["search"]
    assert definition["externalParameters"]["recipe"]["search"]["width"] == [8, 32, 128]
    uris = [item.get("uri", "") for item in definition["resolvedDependencies"]]
    assert any(uri.startswith("pkg:pypi/optuna@") for uri in uris)


def test_a_search_that_was_stopped_goes_on_to_the_same(
    found: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    recipe, out = looked_for(tmp_path / "other"), tmp_path / "stopped"
    whole, trained = StudentSearch.train, []

    class StopError(Exception):
        """In the place of a kill."""

    def train(self: StudentSearch, *given: object) -> float:
        trained.append(given)
        if len(trained) == 3:
            raise StopError
        return whole(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(StudentSearch, "train", train)
    with pytest.raises(StopError):
        make(recipe, out)
    record = out / "run" / "search.jsonl"
    begun = record.read_text()
    record.write_text(begun + '{"settings": {"lay')
    told: list[str] = []
    again = RecipeRun(recipe, out, lambda step, news: told.append(f"{step} {news}")).make()
    assert again.report["search"] == found.report["search"]
    assert [line.split(":")[0] for line in told[:5]] == [f"search {n}/5" for n in range(1, 6)]
    # Finished trials are not run again; the one that broke off is.
    within = [one for one in found.report["search"]["trials"] if one["accuracy"] is not None]
    assert len(trained) == len(within) + 1
    graph = (again.model / "serving.onnx").read_bytes()
    assert graph == (found.model / "serving.onnx").read_bytes()


def test_a_budget_of_time_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "milliseconds", lambda graph, rows: len(graph) / 1e5)
    asked = SEARCH.replace("megabytes = 0.05", "milliseconds = 0.5")
    made = make(looked_for(tmp_path, asked), tmp_path / "made")
    for trial in made.report["search"]["trials"]:
        assert (trial["accuracy"] is None) == (trial["milliseconds"] > 0.5)


def test_a_budget_that_nothing_fits_is_refused(tmp_path: Path) -> None:
    asked = SEARCH.replace("0.05", "0.0005")
    found = refused(looked_for(tmp_path, asked), tmp_path / "made")
    assert found.reason is Reason.RECIPE_INVALID
    assert "layers 1, width 8" in found.detail
    assert not (tmp_path / "made" / "model").exists()


def test_an_encoder_is_looked_for_with_fewer_words(tmp_path: Path) -> None:
    recipe = recipes.texts(tmp_path)
    asked = (
        "[search]\ntrials = 3\nepochs = 4\nmegabytes = 1.0\nvocabulary = [8, 60]\nheads = [1, 2]"
    )
    recipe.write_text(recipe.read_text() + asked)
    made = make(recipe, tmp_path / "made")
    settings = [trial["settings"] for trial in made.report["search"]["trials"]]
    assert len(settings) == 3
    assert all(list(one) == ["heads", "vocabulary"] for one in settings)
    sizes = {(t["settings"]["vocabulary"], t["megabytes"]) for t in made.report["search"]["trials"]}
    (few, small), (more, large) = sorted(sizes)
    assert few < more
    # 52 words by 32 numbers.
    assert large - small == pytest.approx(52 * 32 * 4 / 1e6, rel=0.01)
    assert made.report["accuracy"] > 0.7


def test_a_texts_time_is_measured_at_its_own_length() -> None:
    graph = (text_models.FOLDER / "serving.onnx").read_bytes()
    assert 0 < search.milliseconds(graph, text_models.dataset().fit.x) < 60_000
