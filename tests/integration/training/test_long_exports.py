"""Graphs that take long to make: of imported checkpoints of every family, response graphs too, and
of an encoder with few words. See `make test-extra NAME=export`.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from inference.runtime import response_contract
from tests.support.builders.models import tiny_checkpoints
from tests.support.builders.models.demo_models import opened
from tests.support.builders.models.imported_graphs import (
    SIZES,
    checkpoint_matrices,
    logits_of,
    matrices,
    near,
    rows,
    run,
)
from training.export.text import export_text_serving
from training.models.encoder import EncoderSize, TextClassifier
from training.models.long_encoder import FrequentWordEmbedding
from training.run.import_checkpoint import DECODER, ENCODER, SAID, STATES, write_graphs

pytestmark = [
    pytest.mark.skipif("SEALGATE_LONG" not in os.environ, reason="make test-extra NAME=export"),
    pytest.mark.timeout(900),
]
_EPS = 0.05


@pytest.fixture(scope="module", params=["qwen2", "llama", "bert"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `graphs` beside the imported checkpoint, which is named by its kind."""
    folder: Path = tmp_path_factory.mktemp("made")
    write_graphs(tiny_checkpoints.imported(folder, request.param), folder / "graphs")
    return folder / str(request.param)


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    write_graphs(tiny_checkpoints.imported(folder, "t5"), folder / "graphs")
    return folder


@pytest.mark.parametrize(("count", "width"), SIZES)
def test_both_graphs_are_torchs(made: Path, count: int, width: int) -> None:
    kind, folder = made.name, made.parent / "graphs"
    model, (ids, mask) = tiny_checkpoints.model(kind), rows(count, width)
    expected = logits_of(kind, model, ids, mask)
    (served,) = run(folder / "serving.onnx", input_ids=ids, attention_mask=mask)
    own = torch.full((count,), response_contract.OWN_PREDICTION)
    fed = {"input_ids": ids, "attention_mask": mask, "label": own, "eps": torch.tensor(_EPS)}
    logits, moved, features = run(folder / "response.onnx", **fed)
    assert near(served, expected)
    assert near(logits, expected)
    assert np.isfinite(features).all()
    start = model.get_input_embeddings()(ids).detach().requires_grad_(True)
    told = model(inputs_embeds=start, attention_mask=mask).logits
    if kind != "bert":
        told = told[torch.arange(count), mask.sum(1) - 1]
    loss = functional.cross_entropy(told, told.argmax(1), reduction="sum")
    (slope,) = torch.autograd.grad(loss, start)
    step = (start + _EPS * slope.sign()).detach().numpy()
    sure = slope.abs().numpy() > 1e-5
    assert sure.any()
    assert np.abs(moved - step)[sure].max() <= 1e-5


def test_each_parameter_is_in_both_by_the_checkpoints_name(made: Path) -> None:
    theirs = checkpoint_matrices(made)
    for name in ("serving.onnx", "response.onnx"):
        assert matrices(made.parent / "graphs" / name) == theirs


@pytest.mark.parametrize(("count", "width"), SIZES)
def test_a_translators_graphs_are_torchs(t5: Path, count: int, width: int) -> None:
    (ids, mask), (said, _) = rows(count, width), rows(count, 6)
    model = tiny_checkpoints.model("t5")
    expected = model(input_ids=ids, attention_mask=mask, decoder_input_ids=said).logits
    (states,) = run(t5 / "graphs" / ENCODER, input_ids=ids, attention_mask=mask)
    fed = {SAID: said, STATES: torch.from_numpy(states), "attention_mask": mask}
    (logits,) = run(t5 / "graphs" / DECODER, **fed)
    assert near(logits, expected)


def test_a_translators_parameters_have_the_checkpoints_names(t5: Path) -> None:
    read, said = (matrices(t5 / "graphs" / name) for name in (ENCODER, DECODER))
    assert sorted({*read, *said}) == checkpoint_matrices(t5 / "t5")
    assert set(read) & set(said) == {"shared.weight"}


def test_few_words_take_the_tokenizers_ids() -> None:
    size = EncoderSize(vocabulary=4, positions=32, width=8, inner=16, layers=1, heads=2)
    net = TextClassifier(size, 2)
    net.words = FrequentWordEmbedding(torch.tensor([2, 7, 9]), 12, size.width)
    net.eval().requires_grad_(False)
    ids = torch.tensor([[7, 2, 11, 0], [9, 5, 5, 3]])
    fed = {"input_ids": ids.numpy(), "attention_mask": np.ones_like(ids.numpy())}
    (found,) = opened(export_text_serving(net)).run(None, fed)
    assert near(found, net.answers(ids)[1])
