"""A classifier that is shown the prompts of a language model, by the policy's `screens`.

It is a version of its own, published, approved and live like any other, and the policy names its
digest: so each record, which binds the policy, says which bytes judged the prompt. Where that
version is not live, nothing is answered.

A classifier reads so many tokens of a text and no more. So a prompt is shown to it in windows, cut
by its own tokenizer (`inference.text.text_windows`), as it was trained and calibrated.

A model reads a chat as one text. So beside each message by itself the guard is shown what reaches
from one into another: of all messages in a row, and of those of one role, between which others'
stand, a window over each seam.

The policy may name another classifier for messages of a role, or the same with another margin: what
a tool has fetched is judged by another threshold than what a person asks. That one is shown the
messages of its role and all seams, and the general one all else. So a role that the policy does not
name, `system` or `document` as any other, is judged by the general margin.

The policy's `by_windows` raises the margin with the number of windows that are shown at once.

A classifier of answers is shown what has come of one (`inference.llm.answers`), in windows too.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np

from gateway.calls.call import Call
from inference.engine import Engine, LiveVersion, RequestOptions
from inference.llm.request import SamplingRequest, said_in
from inference.text.text_windows import Windows, added
from inference.text.tokenizer import TextTokenizer
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import (
    SHADOW_ALIAS,
    STRICTEST_FIRST,
    AnswerClassifierRules,
    PromptClassifierRules,
)

Messages = Sequence[tuple[str, str]]
"""The role and the text of each, as `said_in` gives them."""


@runtime_checkable
class TextVersion(Protocol):
    """A version whose tokenizer is here, wherever it runs."""

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """None where it takes no texts."""
        ...


class PromptClassifier:
    """Shows prompts and answers to live versions. Safe for many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def follows(
        self,
        guard: PromptClassifierRules | None,
        asked: SamplingRequest | None,
        until: float,
        call: Call,
    ) -> str:
        """The strictest action of the guards that find their class in a window of a prompt; empty
        where none does, and where there is no guard.

        Raises: VERSION_NOT_LIVE for a guard that is no live classifier of texts with that class;
        TENSOR_TEXT, CHAT_MALFORMED; and as `Engine.infer`.
        """
        if guard is None or asked is None:
            return ""
        said = said_in(asked)
        present = {role for role, _ in said}
        found = [
            other.action
            for role, other in guard.roles.items()
            if role in present and self._finds(other, partial(shown_of, role, said), until, call)
        ]
        if self._finds(guard, partial(shown, said, apart=guard.roles), until, call):
            found.append(guard.action)
        return min(found, key=STRICTEST_FIRST.index, default="")

    def of_answers(
        self, rules: AnswerClassifierRules, until: float, call: Call
    ) -> Callable[[str], bool]:
        """A function that says whether the classifier finds its class in a window of a text.

        Raises, at once and when it is asked: VERSION_NOT_LIVE where there is no live classifier of
        texts with that class; and as `Engine.infer`.
        """
        self._opened(rules)
        return lambda text: self._finds(rules, lambda windows: windows.of(text), until, call)

    def _finds(
        self,
        guard: PromptClassifierRules | AnswerClassifierRules,
        shown: Callable[[Windows], Sequence[str]],
        until: float,
        call: Call,
    ) -> bool:
        """Whether any of the windows is of its class."""
        live, tokenizer = self._opened(guard)
        config = live.config
        sought, most = config.labels.index(guard.label), config.batching.max_rows
        texts = [window.encode() for window in shown(Windows(tokenizer))]
        margin = 0.0
        if isinstance(guard, PromptClassifierRules):
            margin = (guard.margin + added(guard.by_windows, len(texts))) / 100
        for start in range(0, len(texts), most):
            rows = np.array(texts[start : start + most], object)
            answer = self._engine.infer(
                live, rows, RequestOptions(until, active=call.is_active, caller=call.principal.name)
            )
            logits = answer.outputs[config.output.name]
            leads = logits[:, sought] - np.delete(logits, sought, 1).max(1)
            # A NaN does not clear a text.
            if not (leads <= margin).all():
                return True
        return False

    def _opened(
        self, guard: PromptClassifierRules | AnswerClassifierRules
    ) -> tuple[LiveVersion, TextTokenizer]:
        live = self._live(guard.version)
        tokenizer = live.ready.tokenizer if isinstance(live.ready, TextVersion) else None
        if tokenizer is None or guard.label not in live.config.labels:
            raise SealgateError(Reason.VERSION_NOT_LIVE, f"{guard.version} is no such guard")
        return live, tokenizer

    def _live(self, digest: str) -> LiveVersion:
        for (model, alias), live in self._engine.live().items():
            if live.digest == digest and alias != SHADOW_ALIAS:
                # By way of the table, which knows what has been revoked and what is too old.
                found = self._engine.resolve(model, None, alias)
                if found.digest == digest:
                    return found
        raise SealgateError(Reason.VERSION_NOT_LIVE, f"the guard {digest}")


def shown(said: Messages, windows: Windows, apart: Collection[str] = ()) -> Sequence[str]:
    """The windows of a prompt's messages, each once: of each message by itself first, then those
    over seams; as if there were no messages of the roles `apart`.
    """
    said = [(role, text) for role, text in said if role not in apart]
    found = [window for _, text in said for window in windows.of(text)]
    found += windows.over(text for _, text in said)
    roles = sorted({role for role, _ in said})
    for role in roles if len(roles) > 1 else ():
        found += windows.over(text for other, text in said if other == role)
    return list(dict.fromkeys(found))


def shown_of(role: str, said: Messages, windows: Windows) -> Sequence[str]:
    """The windows of a role's messages, each once, and those over seams of all messages."""
    own = [text for other, text in said if other == role]
    found = [window for text in own for window in windows.of(text)]
    found += windows.over(own) + windows.over(text for _, text in said)
    return list(dict.fromkeys(found))
