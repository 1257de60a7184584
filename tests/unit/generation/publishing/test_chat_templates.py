"""`chat_template.jinja` is published with its model."""

import json
from pathlib import Path

import pytest

from generation.publishing.builder import copy_files
from inference.llm.terms import CONFIG, TOKENIZER, TOKENIZER_CONFIG
from sealgate.reasons import Reason, SealgateError

TEMPLATE = "chat_template.jinja"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
    (folder / CONFIG).write_text(json.dumps(config))
    (folder / TOKENIZER).write_text("{}")
    # Of no tensors.
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / TEMPLATE).write_text("{{ messages }} ü new")
    return folder


def copied(folder: Path) -> dict[str, str]:
    """The contents of the copy's `tokenizer_config.json`."""
    made = folder.with_name("made")
    copy_files(folder, made)
    assert not (made / TEMPLATE).exists()
    found: dict[str, str] = json.loads((made / TOKENIZER_CONFIG).read_bytes())
    return found


def test_the_template_is_added_to_the_tokenizer_settings(folder: Path) -> None:
    said = {"bos_token": "<s>", "chat_template": "{{ messages }} ü old"}
    (folder / TOKENIZER_CONFIG).write_text(json.dumps(said))
    assert copied(folder) == {"bos_token": "<s>", "chat_template": "{{ messages }} ü new"}


def test_a_template_without_tokenizer_settings(folder: Path) -> None:
    assert copied(folder) == {"chat_template": "{{ messages }} ü new"}


def test_half_a_surrogate_pair_in_the_settings_stays(folder: Path) -> None:
    """It ended publishing with an error that was no refusal."""
    (folder / TOKENIZER_CONFIG).write_text(r'{"note": "\ud800"}')
    assert copied(folder) == {"note": "\ud800", "chat_template": "{{ messages }} ü new"}


def refused(folder: Path) -> Reason:
    with pytest.raises(SealgateError) as found:
        copied(folder)
    return found.value.reason


@pytest.mark.parametrize("said", ["[]", "{", "7"])
def test_tokenizer_settings_must_be_an_object(folder: Path, said: str) -> None:
    (folder / TOKENIZER_CONFIG).write_text(said)
    assert refused(folder) is Reason.CHECKPOINT_REFUSED


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"\xff", Reason.CHECKPOINT_REFUSED), (b" " * ((1 << 20) + 1), Reason.FILE_TOO_LARGE)],
)
def test_a_template_is_text_of_bounded_size(folder: Path, data: bytes, reason: Reason) -> None:
    (folder / TEMPLATE).write_bytes(data)
    assert refused(folder) is reason


def test_a_template_is_a_plain_file(folder: Path) -> None:
    (folder / TEMPLATE).rename(folder / "elsewhere")
    (folder / TEMPLATE).symlink_to(folder / "elsewhere")
    assert refused(folder) is Reason.PATH_UNSAFE
