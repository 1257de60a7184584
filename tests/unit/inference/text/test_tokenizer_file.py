"""A language model's `tokenizer.json` has the parts of well-known ones, and none that take long."""

import base64
import json
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from inference.text.tokenizer_file import CLASSIFIER, LANGUAGE
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def split(pattern: str | Regex) -> pre_tokenizers.Split:
    return pre_tokenizers.Split(pattern, "isolated")


def made(**parts: Any) -> bytes:
    tokenizer = Tokenizer(models.BPE({"a": 0, "▁": 1}, [], unk_token="a"))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer.to_str().encode()


def changed(**sections: Any) -> bytes:
    return json.dumps(json.loads(made()) | sections).encode()


def charsmap(*texts: str) -> str:
    """A table of characters without any, and what would stand for them."""
    said = b"\0".join(text.encode() for text in texts) + b"\0"
    return base64.b64encode((4).to_bytes(4, "little") + bytes(4) + said).decode()


LLAMA2 = made(
    normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    decoder=decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    ),
)
DEEPSEEK = made(
    pre_tokenizer=pre_tokenizers.Sequence(
        [
            *map(split, map(Regex, ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"))),
            pre_tokenizers.Digits(individual_digits=True),
            BYTES,
        ]
    )
)


@pytest.mark.parametrize(
    "data",
    [
        LLAMA2,
        DEEPSEEK,
        made(
            normalizer=normalizers.NFC(),
            pre_tokenizer=pre_tokenizers.Sequence([split(Regex(QWEN2)), BYTES]),
            decoder=decoders.ByteLevel(),
        ),
        made(
            normalizer=normalizers.Sequence(
                [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), "▁")]
            ),
            pre_tokenizer=pre_tokenizers.Metaspace(),
            decoder=decoders.Metaspace(),
        ),
        made(pre_tokenizer=split(" ")),
    ],
)
def test_the_parts_of_known_models_are_read(data: bytes) -> None:
    assert LANGUAGE.open(data).encode("a a").ids


FOREIGN = "(a+)+$"
REPLACE = {"type": "Replace", "pattern": {"Regex": FOREIGN}, "content": ""}


def growing(content: str, **pattern: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


@pytest.mark.parametrize(
    "data",
    [
        made(pre_tokenizer=split(Regex(FOREIGN))),
        made(pre_tokenizer=pre_tokenizers.Sequence([split(Regex(r"\s+$")), BYTES])),
        changed(normalizer=REPLACE),
        changed(normalizer={"type": "Sequence", "normalizers": [REPLACE]}),
        changed(decoder={"type": "Sequence", "decoders": [REPLACE]}),
    ],
)
def test_a_foreign_pattern_is_refused(data: bytes) -> None:
    with refused(Reason.CHECKPOINT_REFUSED) as found:
        LANGUAGE.open(data)
    assert "regular expression" in found.value.detail


@pytest.mark.parametrize(
    "data",
    [
        changed(normalizer=growing("aa", String="a")),
        changed(normalizer=growing("aa", Regex="a")),
        changed(normalizer=growing("a", String="")),
        changed(decoder=growing("aa", String="a")),
        changed(normalizer={"type": "Prepend", "prepend": "aa"}),
        # It takes the last character of a text that has none.
        changed(decoder={"type": "Strip", "content": " ", "start": 0, "stop": 1}),
        changed(normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap("a" * 41)}),
        changed(normalizer={"type": "Precompiled", "precompiled_charsmap": "!"}),
        made(pre_tokenizer=pre_tokenizers.Sequence([split("a")] * 9)),
        made(pre_tokenizer=pre_tokenizers.Sequence([BYTES, BYTES])),
        made(pre_tokenizer=pre_tokenizers.UnicodeScripts()),
        changed(model={"type": "BPE", "dropout": 0.5, "vocab": {"a": 0}, "merges": []}),
        changed(version="9.9"),
        b"[]",
    ],
)
def test_what_lengthens_a_text_or_is_not_known_is_refused(data: bytes) -> None:
    with refused(Reason.CHECKPOINT_REFUSED):
        LANGUAGE.open(data)


def test_a_text_is_neither_filled_nor_cut() -> None:
    """Filled up to a number that the file names, a prompt of one letter took gigabytes."""
    padding = {
        "strategy": {"Fixed": 1 << 40},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "a",
    }
    truncation = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    opened = LANGUAGE.open(changed(padding=padding, truncation=truncation))
    assert opened.encode("aaa").ids == [0, 0, 0]


def test_a_classifier_has_no_patterns() -> None:
    with refused(Reason.FORMAT_REFUSED):
        CLASSIFIER.open(made(pre_tokenizer=split(Regex(QWEN2))))
