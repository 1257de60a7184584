"""A run's provenance ties calibration and test slices to the run."""

import json
from pathlib import Path

import pytest

from publishing.source.dataset import Dataset
from publishing.source.folder import Origin
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make, without_graphs


def test_the_provenance_has_the_digest_that_publishing_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_graphs(monkeypatch)
    made = make(recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN), tmp_path / "made")
    data = (made.model / "provenance.json").read_bytes()
    Origin.decode(data)
    (slices,) = json.loads(data)["predicate"]["runDetails"]["byproducts"]
    assert slices["name"] == made.data.name
    assert f"sha256:{slices['digest']['sha256']}" == Dataset.read(made.data).digest
