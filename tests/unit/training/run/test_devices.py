"""Where a recipe's run computes, on simulated machines; this one may have no card."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.runtime.providers import TorchDevice
from sealgate.reasons import Reason
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make, refused, without_graphs
from training.run import recipe_run

CARD = '[devices]\ndevice = "cuda"\n'
FALLBACK = f"{CARD}fallback = true\n"
# A card that computes here: torch's name for it is the CPU's.
SIMULATED = TorchDevice("cpu", "cuda", "Simulated card")
ABSENT = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")


@pytest.fixture(autouse=True)
def _weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    without_graphs(monkeypatch)


def digits(folder: Path, *more: str) -> Path:
    return recipes.digits(folder, recipes.PERCEPTRON, recipes.TRAIN, *more)


def provenance(out: Path) -> dict[str, Any]:
    document = json.loads((out / "model" / "provenance.json").read_bytes())
    found: dict[str, Any] = document["predicate"]["buildDefinition"]["internalParameters"]
    return found


@ABSENT
def test_a_card_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    refusal = refused(digits(tmp_path, CARD), tmp_path / "made")
    assert refusal.reason is Reason.RECIPE_INVALID
    assert "[devices] device = 'cuda' cannot be used here" in refusal.detail
    assert not (tmp_path / "made").exists()


@ABSENT
def test_a_fallback_is_recorded_and_computes_the_same(tmp_path: Path) -> None:
    for name, more in (("plain", ""), ("fallback", FALLBACK)):
        (tmp_path / name).mkdir()
        make(digits(tmp_path / name, more), tmp_path / name / "made")
    plain, fallback = (tmp_path / name / "made" for name in ("plain", "fallback"))
    assert provenance(plain)["device"] == "cpu"
    assert provenance(fallback)["device"] == "cpu for want of cuda"
    graphs = [(out / "model" / "serving.onnx").read_bytes() for out in (plain, fallback)]
    assert graphs[0] == graphs[1]


def test_what_was_used_is_recorded_and_not_mixed_with_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = digits(tmp_path, FALLBACK), tmp_path / "made"
    monkeypatch.setattr(recipe_run, "select_device", lambda *_: SIMULATED)
    make(recipe, out)
    assert provenance(out)["device"] == "cuda (Simulated card)"
    monkeypatch.setattr(recipe_run, "select_device", lambda *_: TorchDevice())
    refusal = refused(recipe, out)
    assert refusal.reason is Reason.RUN_FOREIGN
    assert "was begun with another device" in refusal.detail
