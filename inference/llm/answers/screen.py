"""Screens an answer while it streams: holds back its last tokens, and releases the checked rest.

Released text has been checked for every finding that ends within the tokens held back, and for
words of up to 512 letters, digits and signs, which most keys are. A finding that ends later is
acted on from the first character that has not been released.

A classifier reads the held text and some text before it, each time that half as many tokens have
come as are held back, and at the end. It does not say where in that text its class begins, so its
consequence applies to all text that has not been released.

A text of `stop` ends an answer and is not part of it, but the caller knows it. So the held text is
also checked with each such text appended, and the last ids, which may reveal more, are not sent.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from inference.llm.answers.readings import readings
from inference.llm.answers.recognizers import AnswerFinding, PersonalData, beginning_of, secrets
from inference.llm.answers.repetitions import Canaries, RepeatedPrompt
from inference.llm.messages import STOP, AnswerPart
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import AnswerRules, Consequence, FindingKind

FILTERED = "content_filter"
"""The finish reason of an answer that was cut, as OpenAI names it."""
# This many characters of released text are checked again, with the text that follows.
_LOOK_BACK = 512
# No finding but a secret has more characters.
_REACH = 320
# A key may have a token for each letter, so a word is held until it ends, if it is not longer.
_LONGEST_WORD = 512
_WORD = re.compile(r"[A-Za-z0-9_.~+/=-]+")
_MARKS = {
    FindingKind.SECRETS: "[secret]",
    FindingKind.PERSONAL: "[personal]",
    FindingKind.PROMPT: "[prompt]",
    FindingKind.CANARY: "[canary]",
}
Recognizer = Callable[[str], Iterator[AnswerFinding]]


@dataclass(slots=True)
class _Held:
    """A part that waits, with the place of its text in the answer."""

    part: AnswerPart
    start: int
    end: int

    @property
    def tokens(self) -> int:
        """The least number of its tokens: one if the engine sends no ids."""
        return len(self.part.ids) or 1


class AnswerScreen:
    """The screen of one answer. `kinds` are the kinds of its findings, and `acted` the actions that
    followed. `tokens` and `size` (in bytes) count all that arrived, released or not.
    """

    def __init__(
        self,
        rules: AnswerRules,
        prompts: Sequence[str] = (),
        classify: Callable[[str], bool] | None = None,
        stops: Sequence[str] = (),
    ) -> None:
        """`prompts` are the texts that an answer may not repeat. `classify` says whether the
        classifier of the rules finds its class in a text; without it, none is asked. `stops` are
        the texts that end the answer.
        """
        self.kinds: set[str] = set()
        self.acted: set[str] = set()
        self.tokens = self.size = 0
        self._rules = rules
        self._stops = stops
        known: dict[str, Callable[[], Recognizer]] = {
            FindingKind.SECRETS: lambda: secrets,
            FindingKind.PERSONAL: PersonalData,
            FindingKind.PROMPT: lambda: RepeatedPrompt(prompts),
            FindingKind.CANARY: lambda: Canaries(rules.canaries),
        }
        self._recognizers = [(kind, known[kind]()) for kind in rules.actions]
        # The text that is checked; it begins at the place `_base` of the answer.
        self._text, self._base = "", 0
        self._held: deque[_Held] = deque()
        self._masked: list[AnswerFinding] = []
        # How far it has been looked at, and where the first finding begins that may go on.
        self._seen = self._open = 0
        self._ends_masked = False
        self._cut_at: int | None = None
        self._classify = classify if rules.classifier else None
        self._unread_tokens = 0

    def over(self, parts: Iterable[AnswerPart]) -> Iterator[AnswerPart]:
        """The parts as they may leave. Raises SealgateError(ANSWER_WITHHELD) for an answer that is
        blocked, and whatever `parts` raises.
        """
        for part in parts:
            self._take(part)
            self._look()
            if part.finish == STOP and self._stops:
                self._look_beyond()
            self._ask(bool(part.finish))
            while self._held and (part.finish or self._may_leave()):
                released = self._release(self._held.popleft())
                yield released
                if released.finish == FILTERED:
                    return

    def _take(self, part: AnswerPart) -> None:
        self.tokens += len(part.ids)
        self.size += len(part.text)
        # Bytes that are no UTF-8 are found again as they came.
        text = part.text.decode("utf-8", "surrogateescape")
        start = self._base + len(self._text)
        self._text += text
        self._held.append(_Held(part, start, start + len(text)))

    def _may_leave(self) -> bool:
        """Whether the first part that is held has so many tokens behind it and is in no word that
        goes on, or the rest is cut.
        """
        if self._cut_at is not None:
            return True
        first = self._held[0]
        behind = sum(each.tokens for each in self._held) - first.tokens
        return behind >= self._rules.hold_tokens and not self._is_in_word(first)

    def _is_in_word(self, held: _Held) -> bool:
        """Whether the last word, which may go on, begins before what is held ends."""
        start = max(held.end - 1, self._base) - self._base
        size = len(self._text) - start
        return size <= _LONGEST_WORD and bool(_WORD.fullmatch(self._text, start))

    def _look(self) -> None:
        left, known = self._held[0].start, self._base + len(self._text)
        # Of what has been looked at before, only what reaches into the new text.
        again = self._seen - self._base if self._open < self._seen else _REACH
        start = max(0, self._seen - self._base - again)
        self._open = self._seen = known
        for found in self._findings(self._text, start):
            if found.end == known:
                self._open = min(self._open, found.start)
            if found.end > left:
                self._act(found, self._rules.actions[found.kind], left)
        self._masked = _merged(self._masked)

    def _look_beyond(self) -> None:
        """Look at the end with each stop text behind it: which one came is not told."""
        last = self._held[-1]
        last.part = AnswerPart((), last.part.text, last.part.finish, last.part.usage)
        left, known = self._held[0].start, self._base + len(self._text)
        for stop in self._stops:
            for found in self._findings(self._text + stop):
                if found.start < known < found.end:
                    self._act(found, self._rules.actions[found.kind], left)
        self._masked = _merged(self._masked)

    def _findings(self, text: str, start: int = 0) -> Iterator[AnswerFinding]:
        """The findings in a text that begins at `_base`, and in other writings of it. Secrets are
        searched in the whole text, everything else from `start` on.
        """
        tail, place = text[start:], self._base + start
        read = [*readings(tail)]
        for kind, recognize in self._recognizers:
            said, at = (text, self._base) if kind == FindingKind.SECRETS else (tail, place)
            for each in recognize(said):
                yield AnswerFinding(kind, each.start + at, each.end + at)
            for other in read:
                for each in recognize(other.text):
                    begin, end = other.place(each.start, each.end)
                    yield AnswerFinding(kind, begin + place, end + place)

    def _ask(self, is_last: bool) -> None:
        """Have the classifier read what it has not, if that is enough or the last."""
        rules = self._rules.classifier
        if rules is None or self._classify is None:
            return
        self._unread_tokens += self._held[-1].tokens
        if not is_last and 2 * self._unread_tokens < self._rules.hold_tokens:
            return
        self._unread_tokens = 0
        if self._classify(self._text.encode("utf-8", "replace").decode()):
            left = self._held[0].start
            self._act(AnswerFinding(FindingKind.CLASSIFIED, left, left), rules.action, left)

    def _act(self, found: AnswerFinding, action: str, left: int) -> None:
        self.kinds.add(found.kind)
        self.acted.add(action)
        if action == Consequence.BLOCK:
            raise SealgateError(Reason.ANSWER_WITHHELD, found.kind)
        if action == Consequence.CUT:
            place = max(found.start, left)
            self._cut_at = place if self._cut_at is None else min(place, self._cut_at)
        elif action == Consequence.MASK:
            self._masked.append(found)

    def _release(self, held: _Held) -> AnswerPart:
        part, text = held.part, self._between(held.start, held.end)
        if self._cut_at is not None and self._cut_at <= held.end:
            kept = self._replaced(held.start, self._cut_at)
            return AnswerPart((), _bytes(kept), FILTERED, part.usage)
        shown = self._replaced(held.start, held.end)
        if shown != text or self._tells_more(held):
            part = AnswerPart((), _bytes(shown), part.finish, part.usage)
        self._forget(held.end)
        return part

    def _tells_more(self, held: _Held) -> bool:
        """Whether ids tell of a finding whose text comes later: what may begin a stop text, or is
        half a character, comes with the next text.
        """
        end = next((each.end for each in self._held if each.part.text), held.end)
        cut = self._cut_at is not None and self._cut_at < end
        return cut or any(each.start < end and held.start < each.end for each in self._masked)

    def _replaced(self, start: int, end: int) -> str:
        """The text with a mark for each finding: where its first character leaves."""
        told, at = "", start
        for each in self._masked:
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
        keep = end - _LOOK_BACK
        if keep > self._base:
            # Of what is hidden and goes on, such as a key in PEM, the beginning says what it is.
            beginning = beginning_of(self._between(min(self._open, keep), keep))
            self._text = beginning + self._text[keep - self._base :]
            self._base = keep - len(beginning)
        self._masked = [each for each in self._masked if each.end >= keep]


def _merged(findings: Iterable[AnswerFinding]) -> list[AnswerFinding]:
    """In order; those that touch become one, of the kind of the first."""
    merged: list[AnswerFinding] = []
    for each in sorted(findings, key=lambda found: found.start):
        if merged and each.start <= merged[-1].end:
            first = merged[-1]
            merged[-1] = AnswerFinding(first.kind, first.start, max(first.end, each.end))
        else:
            merged.append(each)
    return merged


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
