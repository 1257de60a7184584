"""Generation requests: prompts, sampling, and what the record says of them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.receipts.answer_entry import tensors_digest

FETCHED = ("tool", "document")
"""Roles of what a tool or a search has fetched: a policy may judge it by another margin."""
ROLES = ("system", "user", "assistant", *FETCHED)
"""In which a chat may speak. A template writes the word as it is, so no other is let in."""
MOST_MESSAGES = 1024
MOST_STOPS, LONGEST_STOP = 8, 128
MOST_OUTPUT = 1 << 16
"""Tokens of an answer, whatever a model's terms are."""
# Shorter ones may stand in any text.
_SHORTEST = 3


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. `temperature` 0 takes the most likely one; otherwise `seed` decides,
    so that the same seed gives the same tokens. A text of `stop` ends the answer and is not part of
    it.

    Raises SealgateError(PARAMETER_MALFORMED).
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _check("max_tokens", 1 <= self.max_tokens <= MOST_OUTPUT)
        _check("temperature", 0.0 <= self.temperature <= 10.0)
        _check("top_p", 0.0 < self.top_p <= 1.0)
        _check("seed", 0 <= self.seed < 2**53)
        _check("stop", len(self.stop) <= MOST_STOPS)
        for text in self.stop:
            _check("stop", 1 <= len(text) <= LONGEST_STOP and is_text(text))

    def encode(self) -> bytes:
        """The canonical JSON that the record binds."""
        return canonical.encode(
            {
                "max_tokens": self.max_tokens,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "stop": list(self.stop),
                "seed": self.seed,
            }
        )


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """One request: a prompt as it arrived (text, or the JSON of chat messages) and the sampling."""

    prompt: bytes
    is_chat: bool
    sampling: Sampling

    @property
    def digest(self) -> str:
        """The digest in the record: that of the prompt, under the name of its input, and of
        `sampling`, as BYTES tensors of one element.
        """
        name = "messages" if self.is_chat else "text_input"
        return tensors_digest(
            [_bytes(name, self.prompt), _bytes("sampling", self.sampling.encode())]
        )


def answer_digest(prompt_ids: Iterable[int], ids: Iterable[int], text: bytes) -> str:
    """The digest of an answer in the record: that of the tensors `prompt_ids` and `token_ids`,
    INT64, and of `text_output`, BYTES of one element.
    """
    numbers = (("prompt_ids", list(prompt_ids)), ("token_ids", list(ids)))
    tensors = [
        (name, "INT64", (len(found),), b"".join(i.to_bytes(8, "little") for i in found))
        for name, found in numbers
    ]
    return tensors_digest([*tensors, _bytes("text_output", text)])


def is_text(text: str) -> bool:
    """Whether UTF-8 can encode it: JSON can spell half a surrogate pair, which cannot be
    recorded.
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def marks_of(added: Iterable[tuple[str, bool]], template: str) -> frozenset[str]:
    """The tokens whose text no message may contain, since a message could end or imitate another.

    They are the special ones of a tokenizer's added tokens (text, and whether it is special), and
    all others that occur in the text of the chat template: some models do not mark theirs as
    special. Blanks and words are excluded, as are pairs such as `<think>` and `</think>`, which
    models write into their answers and templates look for there.
    """
    tokens = dict(added)
    return frozenset(
        text
        for text, is_special in tokens.items()
        if text and (is_special or (text in template and _parts(text, tokens.keys())))
    )


def said_in(asked: SamplingRequest) -> Sequence[tuple[str, str]]:
    """All that a caller says, with its role: the prompt, or the content of each message.

    Raises: TENSOR_TEXT, CHAT_MALFORMED.
    """
    try:
        text = asked.prompt.decode()
    except UnicodeDecodeError:
        raise SealgateError(Reason.TENSOR_TEXT, "a prompt is not UTF-8") from None
    if not asked.is_chat:
        return [("user", text)]
    try:
        return [
            (str(message["role"]), str(message["content"].encode().decode()))
            for message in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SealgateError(Reason.CHAT_MALFORMED) from None


def _parts(text: str, others: Iterable[str]) -> bool:
    bare = text.strip()
    is_word = len(bare) < _SHORTEST or bare.isalnum()
    return not (is_word or bare.startswith("</") or f"</{bare[1:]}" in others)


def _check(name: str, holds: bool) -> None:
    if not holds:
        raise SealgateError(Reason.PARAMETER_MALFORMED, name, facts={"param": name})


def _bytes(name: str, data: bytes) -> tuple[str, str, tuple[int], bytes]:
    return name, "BYTES", (1,), len(data).to_bytes(4, "little") + data
