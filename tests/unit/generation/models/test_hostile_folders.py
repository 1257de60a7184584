"""Folders of language models that take all time or memory, or leave a call without an answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from generation.models.architectures import CausalFamily
from generation.models.decoder import LanguageModel
from generation.models.folder import check_config
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import CONFIG, TOKENIZER
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def config(**said: Any) -> bytes:
    return json.dumps(LLAMA | said).encode()


@pytest.mark.parametrize("name", ["num_hidden_layers", "num_layers", "num_decoder_layers"])
def test_layers_are_few(name: str) -> None:
    """Each is built before the weights are looked at: a million of them took minutes."""
    check_config(config(**{name: 1024}))
    with refused(Reason.CHECKPOINT_REFUSED):
        check_config(config(**{name: 1025}))


def test_a_folder_with_a_foreign_pattern_is_refused(tmp_path: Path) -> None:
    """Also one that is served already: a prompt of 64 kB took it hours."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(a|a)+$"), "isolated")
    (tmp_path / CONFIG).write_bytes(config())
    (tmp_path / TOKENIZER).write_text(tokenizer.to_str())
    with refused(Reason.CHECKPOINT_REFUSED) as found:
        LanguageModel.read(tmp_path)
    assert "regular expression '(a|a)+$'" in found.value.detail


def test_a_pattern_that_looks_back_too_often_refuses_its_text() -> None:
    """Its library panics, which is no `Exception`: the call got no answer."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(a|a)+$"), "isolated")
    decoder = LanguageModel(None, tokenizer, None, [1], CausalFamily())
    with refused(Reason.TENSOR_TEXT):
        decoder.cut(SamplingRequest(b"a" * 40 + b"c", False, Sampling(1)), 100)
    assert decoder.cut(SamplingRequest(b"aaa", False, Sampling(1)), 100).ids
