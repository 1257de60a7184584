"""Holds an answer back by some tokens, looks at what is held, and lets the rest leave.

What leaves is known to be in order as far as anything is that ends within the tokens held back. A
finding that ends later is acted on from where it has not left yet.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from inference.llm.answers.recognizers import (
    AnswerFinding,
    Canaries,
    RepeatedPrompt,
    personal,
    secrets,
)
from inference.llm.messages import AnswerPart
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy.answers import (
    CANARY,
    CUT,
    MASK,
    PERSONAL,
    PROMPT,
    SECRETS,
    STRICTEST_FIRST,
    AnswerRules,
)
from sealgate.trust.policy.principals import BLOCK

FILTERED = "content_filter"
"""Why an answer ends that was cut, in OpenAI's words."""
# So much of what has left is looked at again, with what follows it.
_LOOK_BACK, _LONGEST = 512, 16384
_MARKS = {SECRETS: "[secret]", PERSONAL: "[personal]", PROMPT: "[prompt]", CANARY: "[canary]"}
Recognizer = Callable[[str], Iterator[AnswerFinding]]


@dataclass(slots=True)
class _Held:
    """A part that waits, with the place of its text in the answer."""

    part: AnswerPart
    start: int
    end: int

    @property
    def tokens(self) -> int:
        """Where ids are not told, no token is shorter than a byte."""
        return len(self.part.ids) or len(self.part.text)


class AnswerScreen:
    """The screen of one answer. `kinds` are what was found, `acted` the actions that followed,
    `withheld` how many tokens of the answer left without their ids, or not at all.
    """

    def __init__(self, rules: AnswerRules, prompts: Sequence[str] = ()) -> None:
        """`prompts` are the texts that an answer may not repeat."""
        self.kinds: set[str] = set()
        self.acted: set[str] = set()
        self.withheld = 0
        self._rules = rules
        known: dict[str, Callable[[], Recognizer]] = {
            SECRETS: lambda: secrets,
            PERSONAL: lambda: personal,
            PROMPT: lambda: RepeatedPrompt(prompts),
            CANARY: lambda: Canaries(rules.canaries),
        }
        self._recognizers = [known[kind]() for kind in rules.actions]
        # What is looked at, from the place `_base` of the answer on.
        self._text, self._base = "", 0
        self._held: deque[_Held] = deque()
        self._masked: list[AnswerFinding] = []
        self._ends_masked = False
        self._cut_at: int | None = None

    def over(self, parts: Iterable[AnswerPart]) -> Iterator[AnswerPart]:
        """The parts as they may leave. Raises SealgateError(ANSWER_WITHHELD) for an answer that is
        blocked, and whatever `parts` raises.
        """
        for part in parts:
            self._take(part)
            self._look()
            while self._held and (part.finish or self._may_leave()):
                released = self._release(self._held.popleft())
                yield released
                if released.finish == FILTERED:
                    self.withheld += sum(len(each.part.ids) for each in self._held)
                    return

    def _take(self, part: AnswerPart) -> None:
        # Bytes that are no UTF-8 are found again as they came.
        text = part.text.decode("utf-8", "surrogateescape")
        start = self._base + len(self._text)
        self._text += text
        self._held.append(_Held(part, start, start + len(text)))

    def _may_leave(self) -> bool:
        """Whether the first part that is held has so many tokens behind it, or the rest is cut."""
        if self._cut_at is not None:
            return True
        behind = sum(each.tokens for each in self._held) - self._held[0].tokens
        return behind >= self._rules.hold_tokens

    def _look(self) -> None:
        left = self._held[0].start
        for recognize in self._recognizers:
            for each in recognize(self._text):
                found = AnswerFinding(each.kind, each.start + self._base, each.end + self._base)
                if found.end > left:
                    self._act(found, left)

    def _act(self, found: AnswerFinding, left: int) -> None:
        action = self._rules.actions[found.kind]
        self.kinds.add(found.kind)
        self.acted.add(action)
        if action == BLOCK:
            raise SealgateError(Reason.ANSWER_WITHHELD, found.kind)
        if action == CUT:
            place = max(found.start, left)
            self._cut_at = place if self._cut_at is None else min(place, self._cut_at)
        elif action == MASK:
            self._mask(found)

    def _mask(self, found: AnswerFinding) -> None:
        """Remember what is replaced; findings that touch become one, of the kind of the first."""
        same = [each for each in (*self._masked, found) if _touch(each, found)]
        self._masked = [each for each in self._masked if each not in same]
        first = min(same, key=lambda each: each.start)
        self._masked.append(AnswerFinding(first.kind, first.start, max(each.end for each in same)))

    def _release(self, held: _Held) -> AnswerPart:
        part, text = held.part, self._between(held.start, held.end)
        if self._cut_at is not None and self._cut_at <= held.end:
            self.withheld += len(part.ids)
            kept = self._replaced(held.start, self._cut_at)
            return AnswerPart((), _bytes(kept), FILTERED, part.usage)
        shown = self._replaced(held.start, held.end)
        if shown != text:
            self.withheld += len(part.ids)
            part = AnswerPart((), _bytes(shown), part.finish, part.usage)
        self._forget(held.end)
        return part

    def _replaced(self, start: int, end: int) -> str:
        """The text with a mark for each finding: where its first character leaves."""
        told, at = "", start
        for each in sorted(self._masked, key=lambda found: found.start):
            begin, until = max(each.start, start), min(each.end, end)
            if begin >= until:
                continue
            told += self._between(at, begin)
            if begin > at or not self._ends_masked:
                told += _MARKS[each.kind]
            at, self._ends_masked = until, True
        if at < end:
            self._ends_masked = False
        return told + self._between(at, end)

    def _between(self, start: int, end: int) -> str:
        return self._text[start - self._base : end - self._base]

    def _forget(self, end: int) -> None:
        """Keep of what has left as much as is looked at again."""
        known = self._base + len(self._text)
        # Of what is hidden and goes on, such as a key in PEM, the beginning says what it is.
        open_ones = [each.start for each in self._masked if each.end == known]
        first = max(min([end - _LOOK_BACK, *open_ones]), end - _LONGEST)
        keep = max(self._base, first)
        self._text = self._text[keep - self._base :]
        self._base = keep
        self._masked = [each for each in self._masked if each.end >= keep]


def strictest(actions: Iterable[str]) -> str:
    """The strictest of some actions; empty for none."""
    return min(actions, key=STRICTEST_FIRST.index, default="")


def _touch(one: AnswerFinding, other: AnswerFinding) -> bool:
    return one.start <= other.end and other.start <= one.end


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
