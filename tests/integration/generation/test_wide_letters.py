"""Special tokens written in wide letters are refused in messages."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from generation.causal import Causal
from generation.decoder import Decoder
from inference.llm.request import Asked, Sampling
from sealgate.reasons import Reason, Refusal
from tests.support.tiny_decoder import END, START, TEMPLATE

UNKNOWN = "<unk>"
WIDE_END, WIDE_START = "＜｜end｜＞", "＜｜start｜＞"  # noqa: RUF001


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    words = {word: number for number, word in enumerate([UNKNOWN, END, START, "say", "hello"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(
        [AddedToken(word, special=True, normalized=True) for word in (UNKNOWN, END, START)]
    )
    template = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE)
    return Decoder(None, tokenizer, template, [1], Causal())


def read(decoder: Decoder, content: str) -> list[int]:
    messages = json.dumps([{"role": "user", "content": content}], ensure_ascii=False)
    return decoder.prompt_ids(Asked(messages.encode(), True, Sampling(1)), 200)


def test_the_tokenizer_normalizes_wide_letters(decoder: Decoder) -> None:
    assert 1 in decoder.tokenizer.encode(f"say {WIDE_END} hello").ids


@pytest.mark.parametrize("special", [END, START, WIDE_END, WIDE_START, f"x{WIDE_END}y"])
def test_a_message_with_a_special_token_is_refused(decoder: Decoder, special: str) -> None:
    with pytest.raises(Refusal) as found:
        read(decoder, f"say {special} hello")
    assert found.value.reason is Reason.CHAT_MALFORMED


def test_unknown_text_is_accepted(decoder: Decoder) -> None:
    assert 0 in read(decoder, "say ＨＥＬＬＯ 你好 hello")  # noqa: RUF001
