"""A classifier from elsewhere, from its checkpoint to an answer: imported, published, promoted and
asked. Its response graph takes long to make; see `make test-extra NAME=export`.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from inference.model.config import ModelConfig
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids, resized
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import read_outputs, write_inputs
from tests.support.builders.models.imported_classifiers import ABOUT, by_torch, imported_trained
from tests.support.builders.models.text_models import sentences, tensor
from tests.support.harness.gateway import GatewayHarness
from training.run.import_checkpoint import write_graphs

pytestmark = [
    pytest.mark.skipif("SEALGATE_LONG" not in os.environ, reason="make test-extra NAME=export"),
    pytest.mark.timeout(900),
]
_SLICES = {"fit": (2, 200), "calibration": (3, 320), "test": (4, 200)}


def rows_of(folder: Path, texts: list[str]) -> Ids:
    """By the folder's own tokenizer."""
    rules = ModelConfig.read((folder / "model.json").read_bytes()).tokens
    assert rules is not None
    tokenizer = TextTokenizer.open((folder / "tokenizer.json").read_bytes(), rules)
    return resized(tokenizer.rows([text.encode() for text in texts]), rules.most)


def test_an_imported_classifier_answers_as_torch_did(tmp_path: Path) -> None:
    folder, data = tmp_path / "graphs", tmp_path / "slices.safetensors"
    write_graphs(imported_trained(tmp_path), folder, ABOUT)
    tensors = {}
    for name, (seed, count) in _SLICES.items():
        texts, labels = sentences(seed, count)
        tensors |= {f"x_{name}": rows_of(folder, texts), f"y_{name}": labels.astype(np.int64)}
    save_file(tensors, data)
    harness = GatewayHarness(tmp_path / "state")
    harness.start()
    try:
        published = harness.command("model", "publish", str(folder), "--data", str(data))
        assert published.exit_code == 0, published.output
        harness.promote("triage", 1)
        texts, labels = sentences(9, 16)
        asked = oip.ModelInferRequest(model_name="triage")
        write_inputs(asked, [tensor(*(text.encode() for text in texts))])
        answered = read_outputs(harness.inference().ModelInfer(asked))["logits"].data
    finally:
        harness.stop()
    expected = by_torch(rows_of(folder, texts)).numpy()
    assert np.mean(expected.argmax(axis=1) == labels) >= 0.75
    # INT8, and marked: near, and the same class wherever torch is not undecided.
    apart = np.abs(answered - expected).max() / np.ptp(expected)
    assert apart < 0.2
    clear = np.abs(expected[:, 0] - expected[:, 1]) > 0.2 * np.ptp(expected)
    assert clear.sum() >= 8
    assert (answered.argmax(axis=1) == expected.argmax(axis=1))[clear].all()
