"""A classifier that is shown the prompts of a language model, by the policy's `screens`.

It is a version of its own, published, approved and live like any other, and the policy names its
digest: so each record, which binds the policy, says which bytes judged the prompt. Where that
version is not live, nothing is answered.

A classifier reads so many tokens of a text and no more. So a prompt is shown to it in parts of
twice as many bytes, each beginning that many behind the one before: no token is shorter than a
byte of what a tokenizer makes of a character, and so no character is left unread.

A model reads a chat as one text. So beside each message by itself the guard is shown what reaches
from one into another: of all messages in a row, and of those of one role, between which others'
stand. Of these only parts that hold a seam are new, a few for each.
"""

import json
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from gateway.front_door import Call
from inference.engine import Engine, Live
from inference.generation import Asked
from inference.model_config import BYTES
from sealgate.reasons import Reason, Refusal
from sealgate.trust.screens import Guard
from sealgate.trust.shares import SHADOW

_WORD = re.compile(r"\S+")
# What a tokenizer puts before and behind a text.
_SPECIAL = 3


class PromptGuard:
    """Shows prompts to live versions. Safe for many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def follows(self, guard: Guard | None, asked: Asked | None, until: float, call: Call) -> str:
        """The guard's action where any part of a prompt is of the class that it looks for; empty
        where none is, and where there is no guard.

        Raises: VERSION_NOT_LIVE for a guard that is no live classifier of texts with that class;
        TENSOR_TEXT, CHAT_MALFORMED; and as `Engine.infer`.
        """
        if guard is None or asked is None:
            return ""
        live = self._live(guard)
        config = live.config
        rules = config.tokens
        if rules is None or config.input.datatype != BYTES or guard.label not in config.labels:
            raise Refusal(Reason.VERSION_NOT_LIVE, f"{guard.version} is no such guard")
        sought, most = config.labels.index(guard.label), config.batching.max_rows
        texts = [part.encode() for part in shown(asked, max(1, rules.most - _SPECIAL))]
        for start in range(0, len(texts), most):
            rows = np.array(texts[start : start + most], object)
            answer = self._engine.infer(
                live, rows, until, call.is_active, False, call.principal.name
            )
            if (answer.outputs[config.output.name].argmax(-1) == sought).any():
                return guard.action
        return ""

    def _live(self, guard: Guard) -> Live:
        for (model, alias), live in self._engine.live().items():
            if live.digest == guard.version and alias != SHADOW:
                # By way of the table, which knows what has been revoked and what is too old.
                found = self._engine.resolve(model, None, alias)
                if found.digest == guard.version:
                    return found
        raise Refusal(Reason.VERSION_NOT_LIVE, f"the guard {guard.version}")


def shown(asked: Asked, tokens: int) -> Sequence[str]:
    """The parts of a prompt, each once, for a classifier that reads so many `tokens`: of each
    message by itself first, then what reaches over the seams.

    Raises: TENSOR_TEXT, CHAT_MALFORMED.
    """
    said = said_in(asked)
    found = dict.fromkeys(part for _, text in said for part in parts(text, tokens))
    rows = [[text for _, text in said]]
    roles = sorted({role for role, _ in said})
    if len(roles) > 1:
        rows += ([text for other, text in said if other == role] for role in roles)
    for row in rows:
        found |= dict.fromkeys(over_seams(row, tokens))
    return list(found)


def said_in(asked: Asked) -> Sequence[tuple[str, str]]:
    """All that a caller says, with its role: the prompt, or the content of each message.

    Raises: TENSOR_TEXT, CHAT_MALFORMED.
    """
    try:
        text = asked.prompt.decode()
    except UnicodeDecodeError:
        raise Refusal(Reason.TENSOR_TEXT, "a prompt is not UTF-8") from None
    if not asked.is_chat:
        return [("user", text)]
    try:
        return [
            (str(message["role"]), str(message["content"].encode().decode()))
            for message in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Refusal(Reason.CHAT_MALFORMED) from None


def parts(text: str, tokens: int) -> Iterator[str]:
    """Parts of at most twice `tokens` bytes, each but the first beginning `tokens` at most behind
    the one before, with a word where that is possible. A character counts as many bytes as it has
    when it is normalized, which may be many.
    """
    text = _plain(text)
    return (text[start:end] for start, end in _places(text, tokens))


def over_seams(texts: Sequence[str], tokens: int) -> Iterator[str]:
    """Of texts in a row, with a space between them, the parts that hold some of more than one."""
    plain = [text for text in map(_plain, texts) if text]
    # Where each but the first begins.
    seams = list(accumulate(len(text) + 1 for text in plain[:-1]))
    if not seams:
        return
    joined = " ".join(plain)
    for start, end in _places(joined, tokens):
        following = bisect_right(seams, start + 1)
        if following < len(seams) and seams[following] < end:
            yield joined[start:end]


def _plain(text: str) -> str:
    return text.replace("\0", " ").strip()


def _places(text: str, tokens: int) -> Iterator[tuple[int, int]]:
    """Where the parts of a plain text begin and end."""
    beginnings = [0, *(match.start() for match in _WORD.finditer(text))]
    # Of each character, where it ends in bytes.
    ends = list(accumulate(map(_size, text)))
    start = begun = 0
    while True:
        yield start, max(bisect_right(ends, begun + 2 * tokens), start + 1)
        if len(text) <= start + 1 or ends[-1] <= begun + tokens:
            return
        reach = max(bisect_right(ends, begun + tokens), start + 1)
        word = beginnings[bisect_right(beginnings, reach) - 1]
        start = word if word > start else reach
        begun = ends[start - 1]


def _size(character: str) -> int:
    """Its bytes in UTF-8, as it is or normalized, whichever are more."""
    if character.isascii():
        return 1
    return max(len(character.encode()), len(unicodedata.normalize("NFKD", character).encode()))
