"""A checkpoint from elsewhere, as a teacher and as what a student begins with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.text_models import tokenizer_json
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make, refused
from training.data import RunData
from training.models import students
from training.models.checkpoints import take_in
from training.recipe.recipe import Recipe, TeacherSection
from training.run import sources
from training.steps import teachers


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as transformers saves it, imported."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=128,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).eval().save_pretrained(folder / "saved")
    (folder / "saved" / "tokenizer.json").write_bytes(tokenizer_json())
    take_in(folder / "saved", folder / "imported")
    return folder / "imported"


def test_an_imported_encoder_begins_as_what_it_was(bert: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModel.from_pretrained(bert).eval()
    ours = students.encoder_from(bert, 2).eval()
    ids = torch.randint(4, 128, (3, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(input_ids=ids).last_hidden_state.mean(1)
        assert np.allclose(ours.answers(ids)[0], expected, atol=1e-5)


def test_the_first_layers_of_an_encoder_are_those_of_the_whole_one(bert: Path) -> None:
    whole, half = students.encoder_from(bert, 2).eval(), students.encoder_from(bert, 2, 1).eval()
    ids = torch.randint(4, 128, (3, 9), generator=torch.Generator().manual_seed(1))
    words, mask = whole.words(ids), torch.ones(3, 9, dtype=torch.int64)
    with torch.no_grad():
        expected = whole(words, mask, end=1).mean(1)
        assert np.allclose(half.answers(ids)[0], expected, atol=1e-6)


def test_an_encoder_has_no_more_layers_than_it_has(bert: Path) -> None:
    with pytest.raises(SealgateError) as found:
        students.encoder_from(bert, 2, 3)
    assert found.value.reason is Reason.RECIPE_INVALID
    assert "has 2 layers" in found.value.detail


@pytest.mark.usefixtures("unexported")
def test_an_imported_checkpoint_teaches_and_begins(bert: Path, tmp_path: Path) -> None:
    recipe = recipes.texts(tmp_path)
    head, _, _ = recipe.read_text().partition("[student]")
    teacher = f'[teacher]\nkind = "checkpoint"\npath = "{bert}"\n'
    student = f'[student]\nkind = "encoder"\npath = "{bert}"\n'
    distil = "[[steps]]\nkind = 'distil'\nepochs = 2\nhidden = 0.5\nadaptive = true\n"
    recipe.write_text(head.replace('tokenizer = "tokenizer.json"', "") + teacher + student + distil)
    made = make(recipe, tmp_path / "made")
    statement = json.loads((made.model / "provenance.json").read_bytes())
    listed = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    named = {item.get("name") for item in listed}
    assert {"parent: checkpoint saved", "parent: student saved"} <= named


def test_a_teacher_spread_over_devices_says_the_same(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.texts(tmp_path)
    text = recipe.read_text().replace('tokenizer = "tokenizer.json"', "")
    text = text.replace("[student]", f'[teacher]\nkind = "checkpoint"\npath = "{bert}"\n[student]')
    recipe.write_text(text.replace('kind = "train"', 'kind = "distil"'))
    asked = Recipe.read(recipe)
    read = sources.read_rows(asked.data, teachers.tokenizer_in(bert))
    material = RunData.cut(read, asked.data)
    lies: dict[str, object] = {}

    def ask(model: Any, *given: Any) -> Any:
        lies.update(getattr(model, "hf_device_map", {}))
        return said(model, *given)

    said = teachers.ask
    monkeypatch.setattr(teachers, "ask", ask)
    whole = teachers.teach(asked.teacher, material, 1)
    assert "disk" not in lies.values()
    spread = teachers.teach(asked.teacher, material, 1, megabytes=0.02)
    assert {"cpu", "disk"} == set(lies.values())
    assert torch.equal(spread.vectors, whole.vectors)
    assert torch.equal(spread.logits, whole.logits)


def test_a_teacher_says_of_a_row_what_it_says_wherever_it_stands(
    bert: Path, tmp_path: Path
) -> None:
    asked = Recipe.read(recipes.texts(tmp_path)).data
    read = sources.read_rows(asked, teachers.tokenizer_in(bert))
    x, y = RunData.cut(read, asked).slices["train"]
    there, back = (
        teachers.teach(
            TeacherSection("checkpoint", bert), RunData(read, {"train": rows}), 1
        ).vectors
        for rows in ((x, y), (x[::-1].copy(), y[::-1].copy()))
    )
    assert there is not None
    assert back is not None
    assert torch.allclose(there, back.flip(0), atol=1e-5)
    assert not torch.allclose(there, back, atol=1e-5)


def test_a_teacher_changed_since_its_import_is_refused(bert: Path, tmp_path: Path) -> None:
    (bert / "extra.safetensors").write_bytes(b"")
    try:
        recipe = recipes.texts(tmp_path)
        text = recipe.read_text().replace('kind = "encoder"', f'kind = "encoder"\npath = "{bert}"')
        recipe.write_text(text)
        assert refused(recipe, tmp_path / "made").reason is Reason.FILE_SURPLUS
    finally:
        (bert / "extra.safetensors").unlink()
