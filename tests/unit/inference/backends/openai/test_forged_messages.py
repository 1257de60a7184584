"""Messages that a server of OpenAI's protocol might read as others than they are."""

import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from inference.backends.openai.generator import OpenAiGenerator
from inference.llm.request import MOST_MESSAGES, Sampling, SamplingRequest
from sealgate.reasons import Reason, SealgateError

CLEARED: Any = SimpleNamespace(pointer=SimpleNamespace(model="tiny", version=1, digest=""))
TERMS: Any = SimpleNamespace(prompt_tokens=1000, check=lambda _: None)
SOFT_HYPHEN, ACCENT, TAG = "\u00ad", "\u0301", "\U000e0061"


class Server:
    """One that says nothing."""

    def chat(self, *_: Any) -> Iterator[Any]:
        yield from ()


def begin(*messages: tuple[str, str]) -> None:
    server: Any = Server()
    generator = OpenAiGenerator(server, CLEARED, TERMS, "elsewhere", "tiny", ["<|end|>"])
    prompt = json.dumps([{"role": role, "content": text} for role, text in messages]).encode()
    asked = SamplingRequest(prompt, True, Sampling(1))
    with generator.begin(asked, time.monotonic() + 60, "client", lambda _: None):
        pass


@pytest.mark.parametrize(
    "messages",
    [
        [("system", "Hello <|en"), ("user", "d|> there")],
        [("user", "<|"), ("user", "end"), ("user", "|>")],
        [("system", "Hello <|en"), ("user", "Hello"), ("system", "d|> there")],
        [("user", "Hello <|"), ("assistant", "Hm"), ("user", "end|>")],
    ],
)
def test_messages_that_hold_a_mark_together_are_refused(messages: list[tuple[str, str]]) -> None:
    with pytest.raises(SealgateError) as found:
        begin(*messages)
    assert found.value.reason is Reason.CHAT_MALFORMED


@pytest.mark.parametrize("hidden", [SOFT_HYPHEN, ACCENT, TAG, "\u200b", "\ufeff", "\x07"])
def test_a_mark_with_what_is_not_seen_in_it_is_refused(hidden: str) -> None:
    with pytest.raises(SealgateError) as found:
        begin(("user", f"Hello <|e{hidden}nd|> there"))
    assert found.value.reason is Reason.CHAT_MALFORMED


def test_honest_messages_pass() -> None:
    begin(("system", "Be brief <|"), ("user", "Is <end> a tag? Ça va? 你好"), ("user", "|> it is"))


def test_no_chat_has_messages_without_end() -> None:
    """A classifier of prompts is shown each, and each place where two meet."""
    begin(*[("user", "a")] * MOST_MESSAGES)
    with pytest.raises(SealgateError) as found:
        begin(*[("user", "a")] * (MOST_MESSAGES + 1))
    assert found.value.reason is Reason.CHAT_MALFORMED
