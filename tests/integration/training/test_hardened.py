"""A model hardened by a recipe is a model like any other."""

from pathlib import Path

import numpy as np
import pytest

from inference.runtime import response_contract
from inference.screening import gradient_attacks
from publishing.calibration.detector_fit import fit_detector
from publishing.quantization import quantize
from publishing.serialization import parse_model
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.watermark import MARK_CAPACITY
from publishing.watermark.carrier_weights import read_carriers
from tests.support.builders.models.demo_models import opened
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make
from training.recipe.recipe import Recipe

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[3] / "demo" / "recipes"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SourceFolder, Dataset]:
    folder = tmp_path_factory.mktemp("hardened")
    step = f"{recipes.HARDEN}shift = 0.25\nturn = 5.0\n"
    found = make(recipes.digits(folder, recipes.PERCEPTRON, step), folder / "made")
    return SourceFolder.read(found.model), Dataset.read(found.data)


def test_its_int8_form_answers_alike(made: tuple[SourceFolder, Dataset]) -> None:
    source, data = made
    int8 = quantize(source.serving, source.config.input.name, data.fit.x)
    before, after = (
        opened(graph).run(None, {"x": data.test.x})[0].argmax(axis=1)
        for graph in (source.serving, int8)
    )
    assert np.mean(before == data.test.y) > 0.6
    assert np.mean(before == after) > 0.95


def test_its_weights_can_carry_a_mark(made: tuple[SourceFolder, Dataset]) -> None:
    source, _ = made
    response_contract.check_same_parameters(source.serving, source.response)
    carriers = read_carriers(parse_model(source.serving))
    assert sum(each.values.size for each in carriers) >= MARK_CAPACITY


def test_it_is_screened(made: tuple[SourceFolder, Dataset]) -> None:
    source, data = made
    session, domain, eps = opened(source.response), source.config.domain, source.config.eps
    generator = np.random.default_rng(0)
    detector = fit_detector(session, data.fit.x, data.calibration.x, domain, eps, generator)
    feeds = gradient_attacks.feeds(data.test.x, eps, domain.min, domain.max)
    logits, features = session.run([response_contract.LOGITS, response_contract.FEATURES], feeds)
    served = opened(source.serving).run(None, {"x": data.test.x})[0]
    assert np.abs(logits - served).max() < 1e-4
    flagged = np.mean(detector.scores(features) > detector.threshold)
    assert flagged <= 0.01 + 4 * np.sqrt(0.01 * 0.99 / len(features))


def test_the_demos_recipe_is_read() -> None:
    (step,) = Recipe.read(DEMO / "digits-hardened.toml").steps
    assert step.kind == "harden"
