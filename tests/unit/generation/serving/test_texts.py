"""Text as it comes: whole characters, and nothing of a stop text."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from generation.serving.streamed_text import StreamedText

# A token for each byte, so that characters come in parts.
_BYTES = {piece: at for at, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=_BYTES, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def pieces(tokenizer: Tokenizer, text: str, *stop: str) -> list[str]:
    """The text released after each byte until the text is over, and at the end."""
    said, found = StreamedText(tokenizer, stop), []
    for token in tokenizer.encode(text).ids:
        found.append(said.add(token))
        if said.is_over:
            return [*found, said.end()]
    return [*found, said.end()]


@pytest.mark.parametrize("text", ["plain", "Grüße 日本 👍🏽", "e\u0301", "a\n\tb"])
def test_pieces_make_up_the_text(tokenizer: Tokenizer, text: str) -> None:
    found = pieces(tokenizer, text)
    assert "".join(found) == text
    assert "\ufffd" not in "".join(found[:-1])


def test_half_a_character_is_told_at_the_end(tokenizer: Tokenizer) -> None:
    said = StreamedText(tokenizer, ())
    ids = tokenizer.encode("a€").ids
    assert [said.add(token) for token in ids[:-1]] == ["a", "", ""]
    assert said.end() == "\ufffd"


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one END two", ["END"], "one "),
        ("one EN END", ["END"], "one EN "),
        ("ENENEND", ["END"], "ENEN"),
        ("a\nb", ["\n", "b"], "a"),
        ("no end EN", ["END"], "no end EN"),
        ("xabcy", ["bc", "abc"], "x"),
        ("日本語", ["本"], "日"),
    ],
)
def test_stops(tokenizer: Tokenizer, text: str, stop: list[str], expected: str) -> None:
    found = pieces(tokenizer, text, *stop)
    assert "".join(found) == expected


def test_what_may_be_a_stops_beginning_is_held(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "aENb", "END") == ["a", "", "", "ENb", ""]
