"""A classifier from elsewhere as a folder that `sealgate model publish` takes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from inference.model.config import TrainingDataInfo
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from sealgate.cli.main import main
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import tiny_checkpoints
from tests.support.builders.models.imported_classifiers import ABOUT, LABELS, imported
from tests.support.builders.models.text_models import (
    DATA,
    rows_of,
    sentences,
    source,
    tokenizer_json,
)
from training.run import import_checkpoint
from training.run.finishing import ImportDescription, describe_imported
from training.run.import_checkpoint import ImportedGraphs, write_graphs

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "training.md"
ANY = ImportDescription("letters", "", "tests", TrainingDataInfo("made-up sentences", "CC0-1.0"))


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs of another encoder of this size; exports take long, and have tests of their own."""
    files = {"serving.onnx": source().serving, "response.onnx": source().response}
    none = torch.zeros(1)
    monkeypatch.setattr(
        import_checkpoint, "graphs", lambda *_: ImportedGraphs(files, {"logits": none})
    )


@pytest.mark.usefixtures("exported")
def test_the_folder_is_one_that_publishing_takes(tmp_path: Path) -> None:
    write_graphs(imported(tmp_path), tmp_path / "graphs", ABOUT)
    found = SourceFolder.read(tmp_path / "graphs")
    assert found.config.labels == LABELS
    assert (found.config.name, found.config.intended_use) == ("triage", ABOUT.use)
    assert found.tokenizer == tokenizer_json()
    assert found.origin is not None
    assert found.origin.statement["predicate"]["buildDefinition"]["externalParameters"] == {
        "family": "classifier"
    }
    Dataset.read(DATA).check(found.config)


@pytest.mark.usefixtures("exported")
def test_slices_are_made_as_the_page_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_graphs(imported(tmp_path), tmp_path / "made" / "triage", ABOUT)
    program = re.search(r"^```python\n(from pathlib.*?)^```", PAGE.read_text(), re.M | re.S)
    assert program is not None
    monkeypatch.chdir(tmp_path)
    seeds = {"fit": 2, "calibration": 3, "test": 4}
    exec(program[1], {"read": lambda name: sentences(seeds[name], 40)})  # noqa: S102
    found = Dataset.read(tmp_path / "slices.safetensors")
    found.check(SourceFolder.read(tmp_path / "made" / "triage").config)
    np.testing.assert_array_equal(found.test.x, rows_of(sentences(4, 40)[0]))


@pytest.mark.usefixtures("exported")
def test_without_a_tokenizer_it_takes_tokens(tmp_path: Path) -> None:
    write_graphs(imported(tmp_path, tokenizer=None), tmp_path / "graphs", ABOUT)
    found = SourceFolder.read(tmp_path / "graphs").config
    assert (found.input.name, found.input.datatype, found.is_text) == ("input_ids", "INT64", False)


def test_its_sizes_are_the_checkpoints() -> None:
    model = tiny_checkpoints.model("bert")
    found = describe_imported(ANY, model, True)
    assert found.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert found.tokens is not None
    assert (found.tokens.vocabulary, found.tokens.buckets) == (40, (16, 32, 48))
    spread = float(model.get_input_embeddings().weight.detach().std())
    assert found.eps == pytest.approx(0.03 * spread, rel=0.01)
    stated = describe_imported(
        ImportDescription("a", "", "b", ANY.data, tokens=20, eps=0.5), model, True
    )
    assert stated.tokens is not None
    assert (stated.tokens.buckets, stated.eps) == ((16, 20), 0.5)


@pytest.mark.parametrize(
    ("changed", "about"),
    [
        ({"problem_type": "multi_label_classification"}, ANY),
        ({"problem_type": "regression"}, ANY),
        ({"num_labels": 1}, ANY),
        ({"id2label": {0: "a", 1: "b", 5: "c"}}, ANY),
        ({}, ImportDescription("a", "", "b", ANY.data, tokens=49)),
    ],
    ids=["several", "number", "one", "unnamed", "length"],
)
def test_what_no_version_could_say_is_refused(
    changed: dict[str, Any], about: ImportDescription
) -> None:
    model = tiny_checkpoints.model("bert", **changed)
    assert reason(lambda: describe_imported(about, model, True)) is Reason.CHECKPOINT_REFUSED


def test_a_tokenizer_that_may_not_be_served_is_refused(tmp_path: Path) -> None:
    document = json.loads(tokenizer_json())
    document["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "a+"}}
    copy = imported(tmp_path, tokenizer=json.dumps(document).encode())
    found = reason(lambda: write_graphs(copy, tmp_path / "graphs", ABOUT))
    assert found is Reason.FORMAT_REFUSED
    assert not (tmp_path / "graphs").exists()


@pytest.mark.parametrize("kind", ["qwen2", "t5"])
def test_language_models_go_elsewhere(kind: str, tmp_path: Path) -> None:
    copy = tiny_checkpoints.imported(tmp_path, kind)
    with pytest.raises(SealgateError) as refused:
        write_graphs(copy, tmp_path / "graphs", ABOUT)
    assert refused.value.reason is Reason.CHECKPOINT_REFUSED
    assert "publish-generator" in refused.value.detail


def reason(work: Any) -> Reason:
    with pytest.raises(SealgateError) as refused:
        work()
    return refused.value.reason


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.usefixtures("exported")
def test_import_makes_it_in_one_command(tmp_path: Path) -> None:
    imported(tmp_path)
    words = ("import", tmp_path / "bert-saved", "--out", tmp_path / "copy", "--json")
    graphs = ("--graphs", tmp_path / "graphs")
    stated = ("--name", "triage", "--use", "tests", "--data", "made up", "--license", "CC0-1.0")
    found = run(*words, *graphs, *stated)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["family"] == "classifier"
    assert SourceFolder.read(tmp_path / "graphs").config.data == TrainingDataInfo(
        "made up", "CC0-1.0"
    )


@pytest.mark.parametrize(
    "stated",
    [
        ("--graphs", "graphs", "--name", "triage"),
        ("--graphs", "graphs", "--eps", "0.1"),
        ("--name", "a", "--use", "b", "--data", "c", "--license", "d"),
    ],
)
def test_half_a_description_is_refused(stated: tuple[str, ...], tmp_path: Path) -> None:
    found = run("import", tmp_path, "--out", tmp_path / "copy", *stated)
    assert found.exit_code == 2
    assert "go together, with --graphs" in found.output
