"""Graphs of imported checkpoints: torch's numbers at any size, each parameter once, by its name.

Graphs that take longest to make are tested in test_long_exports.py.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from publishing.source.folder import Origin
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import tiny_checkpoints
from tests.support.builders.models.imported_graphs import (
    SIZES,
    checkpoint_matrices,
    logits_of,
    matrices,
    near,
    rows,
    run,
)
from tests.support.builders.models.text_models import tokenizer_json
from training.models import checkpoints, families
from training.models.checkpoints import read_imported
from training.models.families import BertClassifier, EncoderStates, NextToken, TranslationDecoder
from training.run import import_checkpoint
from training.run.import_checkpoint import GOLDEN, write_graphs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an imported decoder and its serving graph; the response graph takes a minute,
    and bytes stand in its place.
    """
    folder = tmp_path_factory.mktemp("made")
    copy = tiny_checkpoints.imported(folder, "qwen2", tokenizer_json())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_checkpoint, "response_graph", lambda *_: b"later")
        patch.setattr(import_checkpoint, "check_response", lambda *_: None)
        write_graphs(copy, folder / "graphs")
    return folder


@pytest.mark.parametrize("kind", ["qwen2", "llama", "bert"])
@pytest.mark.parametrize(("count", "width"), SIZES)
def test_a_module_says_what_the_checkpoint_says(kind: str, count: int, width: int) -> None:
    model = tiny_checkpoints.model(kind)
    module = (BertClassifier if kind == "bert" else NextToken)(model)
    ids, mask = rows(count, width)
    found = module(module(ids), mask)
    assert near(found.detach().numpy(), logits_of(kind, model, ids, mask))


@pytest.mark.parametrize(("count", "width"), SIZES)
def test_t5_in_two_parts_says_what_it_says_in_one(count: int, width: int) -> None:
    model = tiny_checkpoints.model("t5")
    (ids, mask), (said, _) = rows(count, width), rows(count, 6)
    expected = model(input_ids=ids, attention_mask=mask, decoder_input_ids=said).logits
    found = TranslationDecoder(model)(said, EncoderStates(model)(ids, mask), mask)
    assert near(found.detach().numpy(), expected)


@pytest.mark.parametrize(("count", "width"), SIZES)
def test_a_graph_gives_torchs_numbers(made: Path, count: int, width: int) -> None:
    ids, mask = rows(count, width)
    (served,) = run(made / "graphs" / "serving.onnx", input_ids=ids, attention_mask=mask)
    assert near(served, logits_of("qwen2", tiny_checkpoints.model("qwen2"), ids, mask))


def test_each_parameter_is_there_once_by_the_checkpoints_name(made: Path) -> None:
    assert matrices(made / "graphs" / "serving.onnx") == checkpoint_matrices(made / "qwen2")


def test_the_folder_says_what_it_is_and_of_what(made: Path) -> None:
    folder = made / "graphs"
    names = {path.name for path in folder.iterdir()}
    graphs = {"serving.onnx", "response.onnx"}
    assert names == {*graphs, GOLDEN, "tokenizer.json", "provenance.json"}
    assert (folder / "tokenizer.json").read_bytes() == tokenizer_json()
    statement = (folder / "provenance.json").read_bytes()
    files = {name: (folder / name).read_bytes() for name in names - {"provenance.json"}}
    Origin.decode(statement).check(files)
    listed = json.loads(statement)["predicate"]["buildDefinition"]["resolvedDependencies"]
    parents = [item for item in listed if item.get("name") == "parent: checkpoint qwen2-saved"]
    digest = read_imported(made / "qwen2").digest
    assert parents[0]["digest"]["sha256"] == digest.removeprefix("sha256:")
    golden = load_file(folder / GOLDEN)
    (logits,) = run(folder / "serving.onnx", **golden)
    assert near(logits, golden["logits"])


@pytest.mark.parametrize("wrong", [1e-2, float("nan")])
def test_a_graph_that_is_not_torchs_is_refused(made: Path, wrong: float) -> None:
    golden = load_file(made / "graphs" / GOLDEN)
    golden["logits"] += wrong
    serving = (made / "graphs" / "serving.onnx").read_bytes()
    with pytest.raises(SealgateError) as refused:
        import_checkpoint.check("serving.onnx", serving, golden, ("logits",))
    assert refused.value.reason is Reason.GRAPH_MISMATCH


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("qwen2", {"layer_types": ["sliding_attention"], "sliding_window": 4}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
        ("bert", {"is_decoder": True}),
        ("bert", {"max_position_embeddings": 16}),
    ],
    ids=["window", "positions", "direction", "length"],
)
def test_what_would_not_be_the_same_is_refused(
    kind: str, changed: dict[str, object], tmp_path: Path
) -> None:
    copy = tiny_checkpoints.imported(tmp_path, kind, **changed)
    assert refusal(copy, tmp_path / "graphs") is Reason.CHECKPOINT_REFUSED


def test_other_architectures_and_folders_that_are_there_are_refused(
    made: Path, tmp_path: Path
) -> None:
    tiny_checkpoints.model("bert").bert.save_pretrained(tmp_path / "saved")
    checkpoints.take_in(tmp_path / "saved", tmp_path / "copy")
    assert refusal(tmp_path / "copy", tmp_path / "graphs") is Reason.CHECKPOINT_REFUSED
    assert refusal(made / "qwen2", made / "graphs") is Reason.RUN_FOREIGN


def test_weights_that_are_not_the_architectures_are_refused(tmp_path: Path) -> None:
    copy = tiny_checkpoints.imported(tmp_path, "bert")
    config = json.loads((copy / "config.json").read_bytes()) | {"hidden_size": 18}
    (tmp_path / "bert-saved" / "config.json").write_text(json.dumps(config))
    checkpoints.take_in(tmp_path / "bert-saved", tmp_path / "other")
    assert refusal(tmp_path / "other", tmp_path / "graphs") is Reason.CHECKPOINT_REFUSED


def test_what_one_file_cannot_hold_is_refused(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_checkpoint, "LARGEST_FILE", 1000)
    assert refusal(made / "qwen2", tmp_path / "graphs") is Reason.FILE_TOO_LARGE


def refusal(copy: Path, out: Path) -> Reason:
    with pytest.raises(SealgateError) as refused:
        write_graphs(copy, out)
    assert not list(out.parent.glob("graphs.new"))
    return refused.value.reason


def test_families_are_known_by_their_architecture(made: Path, tmp_path: Path) -> None:
    assert families.family(made / "qwen2") == families.DECODER
    assert families.family(tiny_checkpoints.imported(tmp_path, "t5")) == families.TRANSLATOR


def test_an_unread_weight_is_not_taken_for_another(tmp_path: Path) -> None:
    """Untied heads have a name of their own."""
    copy = tiny_checkpoints.imported(tmp_path, "qwen2", tie_word_embeddings=False)
    model = families.load(copy)
    assert not torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)
    names = {name.removeprefix(families.WITHIN) for name, _ in NextToken(model).named_parameters()}
    assert names == set(load_file(copy / "model.safetensors"))
