"""Special tokens written in wide letters are refused in messages."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from generation.models.architectures import CausalFamily
from generation.models.chat_template import ChatTemplate
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.tiny_decoder import END, START, TEMPLATE

UNKNOWN = "<unk>"
WIDE_END, WIDE_START = "＜｜end｜＞", "＜｜start｜＞"  # noqa: RUF001


@pytest.fixture(scope="module")
def decoder() -> LanguageModel:
    words = {word: number for number, word in enumerate([UNKNOWN, END, START, "say", "hello"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(
        [AddedToken(word, special=True, normalized=True) for word in (UNKNOWN, END, START)]
    )
    return LanguageModel(None, tokenizer, ChatTemplate(TEMPLATE, {}), [1], CausalFamily())


def read(decoder: LanguageModel, content: str) -> list[int]:
    messages = json.dumps([{"role": "user", "content": content}], ensure_ascii=False)
    return decoder.prompt_ids(SamplingRequest(messages.encode(), True, Sampling(1)), 200)


def test_the_tokenizer_normalizes_wide_letters(decoder: LanguageModel) -> None:
    assert 1 in decoder.tokenizer.encode(f"say {WIDE_END} hello").ids


@pytest.mark.parametrize("special", [END, START, WIDE_END, WIDE_START, f"x{WIDE_END}y"])
def test_a_message_with_a_special_token_is_refused(decoder: LanguageModel, special: str) -> None:
    with pytest.raises(SealgateError) as found:
        read(decoder, f"say {special} hello")
    assert found.value.reason is Reason.CHAT_MALFORMED


def test_unknown_text_is_accepted(decoder: LanguageModel) -> None:
    assert 0 in read(decoder, "say ＨＥＬＬＯ 你好 hello")  # noqa: RUF001
