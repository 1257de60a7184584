"""Loading a language model: only its own files, of the kind it says, with a reason for each
refusal.
"""

import json
import shutil
from pathlib import Path

import pytest

from generation.models.decoder import LanguageModel
from generation.models.folder import check_config
from inference.llm.terms import INDEX, TOKENIZER
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused
from tests.support.builders.models import tiny_decoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_decoder.make(tmp_path_factory.mktemp("decoder") / "tiny", steps=0, layers=1)


@pytest.mark.parametrize("kind", ["gpt2", "llama", None])
def test_a_model_is_of_the_kind_it_says(kind: str | None) -> None:
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": kind}
    with pytest.raises(SealgateError) as found:
        check_config(json.dumps(config).encode())
    assert found.value.reason is Reason.CHECKPOINT_REFUSED
    assert check_config(json.dumps(config | {"model_type": "qwen2"}).encode())


def indexed(folder: Path, place: str) -> None:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as opened:
        names = list(opened.keys())
    (folder / INDEX).write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, place)})
    )


def test_an_index_names_only_weights_of_its_folder(folder: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(folder, tmp_path / "changed")
    shard = "model-00001-of-00001.safetensors"
    indexed(changed, shard)
    (changed / "model.safetensors").rename(changed / shard)
    assert LanguageModel.read(changed).ends
    outside = tmp_path / shard
    shutil.move(changed / shard, outside)
    for place in (str(outside), f"../{shard}"):
        text = json.loads((changed / INDEX).read_text())
        text["weight_map"] = dict.fromkeys(text["weight_map"], place)
        (changed / INDEX).write_text(json.dumps(text))
        with pytest.raises(SealgateError) as found:
            LanguageModel.read(changed)
        assert found.value.reason is Reason.CHECKPOINT_REFUSED


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json"])
def test_a_malformed_settings_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = tiny_decoder.make(tmp_path / "tiny", steps=0, layers=1)
    (folder / name).write_text("{")
    with refused(Reason.CHECKPOINT_REFUSED):
        LanguageModel.read(folder)


def test_a_template_that_repeats_a_text_is_refused(folder: Path, tmp_path: Path) -> None:
    """A hundred times, one prompt takes gigabytes."""
    changed = shutil.copytree(folder, tmp_path / "changed")
    text = {"Sequence": {"id": "A", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [text, text],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {},
    }
    document = json.loads((changed / TOKENIZER).read_text())
    (changed / TOKENIZER).write_text(json.dumps(document | {"post_processor": template}))
    with refused(Reason.CHECKPOINT_REFUSED):
        LanguageModel.read(changed)
