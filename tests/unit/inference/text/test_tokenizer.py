"""A version's tokenizer: what is loaded, what is refused, and what texts become."""

import json
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from inference.text import tokenizer
from inference.text.tokenizer import TextTokenizer
from inference.text.tokenizer_file import CLASSIFIER
from inference.text.tokens import NO_TOKEN, REFUSE, TokenRules, lengths
from sealgate.probes import PROBES
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.text_models import RULES, sentences, tokenizer_json

OPENED = TextTokenizer.open(tokenizer_json(), RULES)


def changed(**parts: Any) -> bytes:
    return json.dumps(json.loads(tokenizer_json()) | parts).encode()


def refusal(data: bytes, rules: TokenRules = RULES) -> Reason:
    with pytest.raises(SealgateError) as refused:
        TextTokenizer.open(data, rules)
    return refused.value.reason


def test_texts_become_rows_as_wide_as_the_bucket_of_the_longest() -> None:
    rows = OPENED.rows([b"cash prize", b"meet"])
    assert rows.shape == (2, 8)
    assert lengths(rows).tolist() == [4, 3]
    assert rows[0, 0] == rows[1, 0] == 2
    longer = OPENED.rows([b"cash prize", b"meet " * 9])
    assert longer.shape == (2, 16)
    assert np.array_equal(longer[0, :8], rows[0])


def test_a_row_does_not_depend_on_the_texts_beside_it() -> None:
    texts = [text.encode() for text in sentences(5, 50)[0]]
    together = OPENED.rows(texts)
    for text, row in zip(texts, together, strict=True):
        alone = OPENED.rows([text])[0]
        assert np.array_equal(alone, row[: len(alone)])
        assert (row[len(alone) :] == NO_TOKEN).all()


def test_too_long_a_text_is_cut_or_refused_as_the_model_says() -> None:
    text = b"meet " * 100
    assert lengths(OPENED.rows([text])).tolist() == [RULES.most]
    strict = TokenRules(RULES.vocabulary, RULES.buckets, REFUSE, RULES.text_bytes)
    opened = TextTokenizer.open(tokenizer_json(), strict)
    assert opened.rows([b"meet " * 30]).shape == (1, 32)
    with pytest.raises(SealgateError) as refused:
        opened.rows([b"meet " * 31])
    assert refused.value.reason is Reason.TENSOR_TEXT


def test_a_text_without_tokens_is_refused() -> None:
    opened = TextTokenizer.open(changed(post_processor=None), RULES)
    with pytest.raises(SealgateError) as refused:
        opened.rows([b"meet", b""])
    assert refused.value.reason is Reason.TENSOR_TEXT


def test_the_file_s_own_padding_and_truncation_do_not_count() -> None:
    padding = {
        "strategy": {"Fixed": 20},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    truncation = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    opened = TextTokenizer.open(changed(padding=padding, truncation=truncation), RULES)
    assert np.array_equal(opened.rows([b"meet the team"]), OPENED.rows([b"meet the team"]))


def test_probes_are_texts_of_no_one_s_and_come_out_alike() -> None:
    probe = OPENED.probe()
    assert probe.shape == (len(PROBES), RULES.most)
    assert np.array_equal(probe, TextTokenizer.open(tokenizer_json(), RULES).probe())
    RULES.checked(probe)


REGEX = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
REPLACE = {"pattern": {"Regex": "(a+)+$"}, "content": ""}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"model": []}',
        b"[" * 100_000,
        changed(version="9.9"),
        changed(model={"type": "WordLevel"}),
        changed(model={"vocab": {}, "unk_token": "a"}),
        changed(pre_tokenizer=REGEX),
        changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [REGEX]}),
        changed(normalizer={"type": "Replace", **REPLACE}),
        changed(normalizer=REPLACE),
        changed(normalizer={"type": "Sequence", "normalizers": [REPLACE]}),
        changed(normalizer={"type": "Sequence", "normalizers": [["Replace"]]}),
        changed(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        changed(decoder={"type": "Replace", **REPLACE}),
        changed(post_processor="BertProcessing"),
        changed(
            model={
                "type": "BPE",
                "dropout": 0.5,
                "vocab": {"a": 0},
                "merges": [],
                "unk_token": "a",
            }
        ),
    ],
)
def test_what_is_no_tokenizer_of_listed_parts_is_refused(data: bytes) -> None:
    assert refusal(data) is Reason.FORMAT_REFUSED


def test_a_tokenizer_of_another_vocabulary_is_refused() -> None:
    small = TokenRules(50, RULES.buckets, RULES.overlong, RULES.text_bytes)
    assert refusal(tokenizer_json(), small) is Reason.GRAPH_MISMATCH


def test_a_tokenizer_is_bounded() -> None:
    assert refusal(tokenizer_json() + b" " * CLASSIFIER.largest) is Reason.FILE_TOO_LARGE


LARGE = [b"meet the team " * 3000, b"cash", "prize é ".encode() * 2000]


def test_few_large_texts_are_tokenized_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "PATIENCE_SECONDS", 0.01)
    opened = TextTokenizer.open(tokenizer_json(), RULES)
    apart = [opened.rows([text]) for text in LARGE]
    together = opened.rows(LARGE)
    for row, alone in zip(together, apart, strict=True):
        assert np.array_equal(row[: alone.shape[1]], alone[0])
    with ExitStack() as busy:
        for _ in range(2):
            busy.enter_context(tokenizer.large_texts)
        with pytest.raises(SealgateError) as refused:
            opened.rows(LARGE)
        assert refused.value.reason is Reason.QUEUE_FULL
        # Others go on.
        assert len(opened.rows([b"meet the team"])) == 1
    assert np.array_equal(opened.rows(LARGE), together)
