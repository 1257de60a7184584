"""Streamed text of tokenizers that fall back to bytes is never taken back and never ends an
answer.
"""

import pytest
from tokenizers import Tokenizer, decoders, models

from generation.serving.streamed_text import StreamedText

WORDS = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁the", "a", "日", "▁"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    vocabulary = {word: at for at, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def said(tokenizer: Tokenizer, *tokens: str | bytes) -> list[str]:
    """The text released after each token, and at the end; bytes are a token each."""
    text, found = StreamedText(tokenizer, ()), []
    for token in tokens:
        pieces = [token] if isinstance(token, str) else [f"<0x{byte:02X}>" for byte in token]
        found += [text.add(WORDS.index(piece)) for piece in pieces]
    return [*found, text.end()]


def test_streamed_text_is_never_taken_back(tokenizer: Tokenizer) -> None:
    found = said(tokenizer, "日", "å".encode(), b"\x97", "a", "▁the")
    assert "".join(found).startswith("日å")
    assert "".join(found).endswith("a the")


def test_half_a_character_at_the_end_is_sent(tokenizer: Tokenizer) -> None:
    found = said(tokenizer, "日", b" ", b"\xe6")
    assert found[:2] == ["日", " "]
    assert set(found[-1]) == {"\ufffd"}


@pytest.mark.parametrize("text", ["日本語 a", "👍🏽 é", "a a"])
def test_characters_of_bytes_come_whole(tokenizer: Tokenizer, text: str) -> None:
    found = said(tokenizer, text.encode())
    assert "".join(found) == text
    assert "\ufffd" not in "".join(found)
