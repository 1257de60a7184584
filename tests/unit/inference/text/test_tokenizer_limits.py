"""Tokenizers whose time or output can grow without bound are refused."""

import json
from typing import Any

import pytest

from inference.text.tokenizer import TextTokenizer
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.text_models import RULES, tokenizer_json

WORDPIECE = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "vocab": {"[UNK]": 0, "a": 1, "##a": 2},
}
PIECES = [["<unk>", 0.0], *(["a" * length, -float(length)] for length in range(1, 102))]
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}


def tokenizer(**parts: Any) -> bytes:
    return json.dumps(
        json.loads(tokenizer_json()) | {"added_tokens": [], "post_processor": None} | parts
    ).encode()


@pytest.mark.parametrize(
    "data",
    [
        tokenizer(model={**WORDPIECE, "max_input_chars_per_word": 101}),
        tokenizer(model={"type": "Unigram", "unk_id": 0, "vocab": PIECES}),
        tokenizer(pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTES, BYTES]}),
        tokenizer(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [BYTES, {"type": "Sequence", "pretokenizers": [BYTES]}],
            }
        ),
    ],
)
def test_an_unbounded_tokenizer_is_refused(data: bytes) -> None:
    with pytest.raises(SealgateError) as refused:
        TextTokenizer.open(data, RULES)
    assert refused.value.reason is Reason.FORMAT_REFUSED


@pytest.mark.parametrize(
    "data",
    [
        tokenizer(model={**WORDPIECE, "max_input_chars_per_word": 100}),
        tokenizer(model={"type": "Unigram", "unk_id": 0, "vocab": PIECES[:-1]}),
        tokenizer(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTES],
            }
        ),
    ],
)
def test_a_usual_tokenizer_is_loaded(data: bytes) -> None:
    assert len(TextTokenizer.open(data, RULES).rows([b"aaa"])) == 1
