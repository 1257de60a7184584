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


UNKNOWN = "x" * 257
TEXT = {"Sequence": {"id": "A", "type_id": 0}}
MARK = {"SpecialToken": {"id": "a", "type_id": 0}}


def template(*single: dict[str, Any]) -> dict[str, Any]:
    """A template that puts tokens around a text, or repeats the text."""
    other = {"Sequence": {"id": "B", "type_id": 1}}
    special = {"a": {"id": "a", "ids": [1], "tokens": ["a"]}}
    return {
        "type": "TemplateProcessing",
        "single": list(single),
        "pair": [TEXT, other],
        "special_tokens": special,
    }


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
        # Each word has it, however short it is.
        tokenizer(model={**WORDPIECE, "continuing_subword_prefix": "#" * 257}),
        tokenizer(model={**WORDPIECE, "unk_token": UNKNOWN, "vocab": {UNKNOWN: 0, "a": 1}}),
        # The library takes any number of each: a text a hundred times took gigabytes.
        tokenizer(post_processor=template(TEXT, TEXT)),
        tokenizer(post_processor={"type": "Sequence", "processors": [template(TEXT, MARK, TEXT)]}),
        tokenizer(post_processor=template(*[MARK] * 17, TEXT)),
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
        tokenizer(post_processor=template(MARK, TEXT, MARK)),
    ],
)
def test_a_usual_tokenizer_is_loaded(data: bytes) -> None:
    assert len(TextTokenizer.open(data, RULES).rows([b"aaa"])) == 1
