"""A text model made ready: what it answers, in whatever company, and what is not loaded."""

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.engine import ready_version
from inference.engine.ready_version import ReadyVersion
from inference.model.config import ModelConfig
from inference.model.golden import Golden
from inference.model.inputs import form_of, model_input, tensors_of
from inference.model.request_tensors import TensorSpec
from inference.runtime.settings import CpuSettings, RunSettings, RuntimeSettings
from inference.text import tokens
from publishing.worker_tasks.forward import ServingGraph
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor
from tests.support.builders.models import text_models
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.text_models import asked, ready, sentences, source, version_files


@pytest.fixture(scope="module")
def loaded() -> ready_version.ReadyVersion:
    return ready()


def refusal(**replaced: bytes) -> Reason:
    with pytest.raises(SealgateError) as refused:
        ready(**replaced)
    return refused.value.reason


def test_texts_are_answered(loaded: ready_version.ReadyVersion) -> None:
    texts, labels = sentences(20, 16)
    answer = loaded.submit(asked(*texts))
    assert np.mean(answer.outputs["logits"].argmax(axis=1) == labels) >= 0.75
    assert answer.features.shape == (16, loaded.detector.width)
    assert np.isfinite(answer.score)


def test_answers_do_not_change_with_company(loaded: ready_version.ReadyVersion) -> None:
    """Bit for bit, among texts of other lengths, in one request and in one batch."""
    texts, _ = sentences(21, 16)
    alone = [loaded.submit(asked(text)).outputs["logits"] for text in texts]
    together = loaded.submit(asked(*texts))
    assert np.array_equal(together.outputs["logits"], np.concatenate(alone))
    begin = threading.Barrier(len(texts))

    def ask(text: str) -> np.ndarray:
        begin.wait(20)
        return loaded.submit(asked(text)).outputs["logits"]

    with ThreadPoolExecutor(len(texts)) as pool:
        at_once = list(pool.map(ask, texts))
    assert np.array_equal(np.concatenate(at_once), np.concatenate(alone))


def test_features_hold_in_company_within_rounding(loaded: ready_version.ReadyVersion) -> None:
    texts, _ = sentences(22, 16)
    together = loaded.submit(asked(*texts)).features
    alone = np.concatenate([loaded.submit(asked(text)).features for text in texts])
    assert np.allclose(together, alone, rtol=1e-3, atol=1e-3)


def test_a_text_that_has_too_many_tokens_is_refused_where_the_model_says_so() -> None:
    document = json.loads(version_files()["model.json"])
    document["tokens"]["overlong"] = "refuse"
    config = ModelConfig.read(json.dumps(document).encode())
    golden = Golden.decode(version_files()["golden.safetensors"], source().config)
    probe = form_of(config, source().tokenizer).probe()
    assert probe is not None
    answers = ServingGraph.of(version_files()["model.int8.onnx"], config).logits(probe)
    files = {"golden_safetensors": replace(golden, probes=Golden(probe, answers)).encode()}
    strict = ready(model_json=config.encode(), **files)
    with pytest.raises(SealgateError) as refused:
        strict.submit(asked("meet " * 40))
    assert refused.value.reason is Reason.TENSOR_TEXT


def test_a_tokenizer_belongs_to_a_text_model_and_to_no_other() -> None:
    files = dict(version_files())
    del files["tokenizer.json"]
    with pytest.raises(SealgateError) as refused:
        ready_version.ReadyVersion.build("", files, CpuSettings(1))
    assert refused.value.reason is Reason.FILE_MISSING
    tokens = text_models.config(input=TensorSpec("input_ids", "INT64", (-1, -1)))
    golden = Golden.decode(files["golden.safetensors"], source().config)
    plain = Golden(golden.x, golden.logits).encode()
    replaced = {"model_json": tokens.encode(), "golden_safetensors": plain}
    assert refusal(**replaced) is Reason.FILE_SURPLUS


def test_a_tokenizer_that_cuts_another_way_is_found_out() -> None:
    """As another release of the library might: the same words, another rule."""
    other = json.loads(version_files()["tokenizer.json"])
    other["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    assert refusal(tokenizer_json=json.dumps(other).encode()) is Reason.GOLDEN_MISMATCH


def test_what_probes_are_answered_is_golden_too() -> None:
    golden = Golden.decode(version_files()["golden.safetensors"], source().config)
    assert golden.probes is not None
    off = replace(golden.probes, logits=golden.probes.logits + np.float32(0.01))
    other = replace(golden, probes=off).encode()
    assert refusal(golden_safetensors=other) is Reason.GOLDEN_MISMATCH


def test_graphs_of_numbers_are_not_a_text_model_s() -> None:
    perceptron = Perceptron.random()
    assert refusal(model_int8_onnx=perceptron.int8()) is Reason.GRAPH_MISMATCH
    assert refusal(response_onnx=perceptron.response()) is Reason.GRAPH_MISMATCH


def test_tokens_are_a_model_s_input_too() -> None:
    """Without a tokenizer: the caller cuts the texts, and is answered the same."""
    config = text_models.config(input=TensorSpec("input_ids", "INT64", (-1, -1)))
    files = dict(version_files())
    del files["tokenizer.json"]
    golden = Golden.decode(files["golden.safetensors"], source().config)
    files["golden.safetensors"] = Golden(golden.x, golden.logits).encode()
    files["model.json"] = config.encode()
    loaded = ready_version.ReadyVersion.build("", files, CpuSettings(1))
    texts, _ = sentences(23, 4)
    rows, _ = form_of(source().config, source().tokenizer).taken(asked(*texts))
    tensors = {tensor.name: tensor for tensor in tensors_of(config, rows)}
    assert [spec.name for spec in config.inputs] == ["input_ids", "attention_mask"]
    found = loaded.submit(model_input(config, tensors)).outputs["logits"]
    expected = ready().submit(asked(*texts)).outputs["logits"]
    assert np.array_equal(found, expected)


IDS = np.array([[2, 5, 3, 0]])
MASK = np.array([[1, 1, 1, 0]])


@pytest.mark.parametrize(
    ("ids", "mask", "reason"),
    [
        (IDS, MASK[:, :3], Reason.TENSOR_SHAPE),
        (np.zeros((1, 33), np.int64), np.ones((1, 33), np.int64), Reason.TENSOR_SHAPE),
        (np.zeros((1, 0), np.int64), np.zeros((1, 0), np.int64), Reason.TENSOR_SHAPE),
        (IDS[0], MASK[0], Reason.TENSOR_SHAPE),
        (IDS.astype(np.int32), MASK, Reason.TENSOR_DATATYPE),
        (IDS, MASK.astype(np.float32), Reason.TENSOR_DATATYPE),
        (IDS + 200, MASK, Reason.TENSOR_RANGE),
        (IDS - 5, MASK, Reason.TENSOR_RANGE),
        (IDS, MASK * 2, Reason.TENSOR_RANGE),
        (IDS, MASK * 0, Reason.TENSOR_RANGE),
        (IDS, MASK[:, ::-1], Reason.TENSOR_RANGE),
        (np.repeat(IDS, 17, 0), np.repeat(MASK, 17, 0), Reason.BATCH_TOO_LARGE),
    ],
)
def test_what_are_no_tokens_of_the_model_s_is_refused(
    ids: np.ndarray, mask: np.ndarray, reason: Reason
) -> None:
    config = text_models.config(input=TensorSpec("input_ids", "INT64", (-1, -1)))
    tensors = {"input_ids": Tensor.of("input_ids", ids), "attention_mask": Tensor.of("m", mask)}
    with pytest.raises(SealgateError) as refused:
        model_input(config, tensors)
    assert refused.value.reason is reason


class Counted:
    """A graph, and how many rows of each width it was given."""

    place = "cpu"

    def __init__(self, session: Any) -> None:
        self._session = session
        self.shapes: set[tuple[int, int]] = set()

    def run(self, feeds: Mapping[str, np.ndarray]) -> Any:
        self.shapes.add(feeds["input_ids"].shape)
        return self._session.run(feeds)


def test_long_texts_are_run_a_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two rows of 32 tokens, and eight of 16.
    monkeypatch.setattr(tokens, "MOST_PAIRS", 2 * 32**2)
    running = RunSettings(RuntimeSettings(deterministic=True))
    ready_version = ReadyVersion.build("", version_files(), CpuSettings(1), running=running)
    ready_version.response = response = Counted(ready_version.response)
    texts, _ = sentences(31, 16)
    together = ready_version.submit(asked(*texts))
    assert {width for _, width in response.shapes} >= {16, 32}
    assert all(rows <= tokens.at_once(width) for rows, width in response.shapes)
    alone = [ready_version.submit(asked(text)) for text in texts]
    assert np.array_equal(together.features, np.concatenate([each.features for each in alone]))
