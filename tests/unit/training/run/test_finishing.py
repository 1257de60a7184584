"""A finished run's description of its training rows."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.builders.models.text_models import RULES, rows_of, tokenizer_json
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make, without_graphs
from training.data import NO_LABEL, TRAIN, RunData, SourceRows
from training.run import finishing
from training.run.finishing import described_rows


def material(tokenizer: bytes | None) -> RunData:
    """Twelve rows, of which the last two have no label."""
    x = np.tile(rows_of(["ba"]), (12, 1))
    x[:, 1] = np.arange(12)
    y = np.array([*range(10), NO_LABEL, NO_LABEL])
    read = SourceRows(x, y, (), "", "", {}, tokens=RULES, tokenizer=tokenizer)
    return RunData(read, {TRAIN: (x, y)})


@pytest.mark.parametrize(("most", "taken"), [(10, range(10)), (9, range(0, 10, 2)), (3, (0, 4, 8))])
def test_many_rows_of_texts_are_described_by_some(
    most: int, taken: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "TEXTS_DESCRIBED", most)
    x, y = described_rows(material(tokenizer_json()))
    assert y.tolist() == x[:, 1].tolist() == list(taken)


def test_all_rows_that_are_no_texts_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishing, "TEXTS_DESCRIBED", 3)
    assert described_rows(material(None))[1].tolist() == list(range(10))


def test_what_is_certified_is_reported_and_in_the_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_graphs(monkeypatch)
    step = f"{recipes.CERTIFY}attack = 0.0001\n"
    found = make(recipes.digits(tmp_path, recipes.PERCEPTRON, step), tmp_path / "made")
    proved = found.report["certified"]
    assert (proved["within"], proved["rows"]) == (0.0001, found.report["test_rows"])
    # Next to no change turns next to no answer.
    assert found.report["accuracy"] - 0.05 <= proved["share"] <= found.report["accuracy"]
    origin = json.loads((found.model / "provenance.json").read_bytes())
    inner = origin["predicate"]["buildDefinition"]["internalParameters"]
    assert inner["certified"] == proved


def test_other_recipes_certify_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_graphs(monkeypatch)
    found = make(recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN), tmp_path / "made")
    assert "certified" not in found.report
