"""What a guard is shown of a prompt: all of it, whatever a classifier reads at once."""

import json
import random

import pytest

from gateway.prompt_guard import parts, said_in
from inference.generation import Asked, Sampling
from sealgate.reasons import Reason, Refusal


def asked(prompt: bytes, is_chat: bool = False) -> Asked:
    return Asked(prompt, is_chat, Sampling(1))


@pytest.mark.parametrize("seed", range(20))
def test_no_character_is_left_unread(seed: int) -> None:
    """Even where each character is a token of its own, so that half of each part is cut off."""
    rng = random.Random(seed)  # noqa: S311
    text = "".join(rng.choice("abcdefg   ") for _ in range(rng.randrange(1, 900))).strip()
    shown = [False] * len(text)
    at = 0
    for part in parts(text, 16):
        assert len(part) <= 32
        at = text.index(part, at)
        shown[at : at + 16] = [True] * len(shown[at : at + 16])
    assert all(shown)


def test_parts_begin_with_words() -> None:
    found = list(parts("one two three four five six seven", 8))
    assert found[0] == "one two three fo"
    assert all(part[0] != " " for part in found)
    assert found[1].startswith("three")


def test_a_short_prompt_is_one_part_and_an_empty_one_too() -> None:
    assert list(parts("  hello ", 16)) == ["hello"]
    assert list(parts("", 16)) == [""]
    assert list(parts("a\0b", 16)) == ["a b"]


def test_every_message_is_read() -> None:
    said = [{"role": "system", "content": "one"}, {"role": "user", "content": "two"}]
    assert said_in(asked(json.dumps(said).encode(), is_chat=True)) == [
        ("system", "one"),
        ("user", "two"),
    ]
    assert said_in(asked(b"three")) == [("user", "three")]


@pytest.mark.parametrize(
    "messages",
    [b"{", b"[1]", b'[{"role": "user"}]', b'[{"content": 1}]', b'[{"content": "\\ud800"}]'],
)
def test_chats_of_another_form_are_refused(messages: bytes) -> None:
    with pytest.raises(Refusal) as found:
        said_in(asked(messages, is_chat=True))
    assert found.value.reason is Reason.CHAT_MALFORMED


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(Refusal) as found:
        said_in(asked(b"\xff"))
    assert found.value.reason is Reason.TENSOR_TEXT
