"""Finds in a text what a model was told and must not repeat: its prompt, and canaries."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from inference.llm.answers.readings import plain_form
from inference.llm.answers.recognizers import MOST_REMEMBERED, AnswerFinding
from sealgate.trust.policy import FindingKind

GRAM = 8
"""How many words in a row of a prompt an answer may not repeat."""
_LETTER_RUN = 40
"""As many letters in a row, whatever stands between them: about as long as GRAM words."""
_FEWEST_WORDS = 4
_WORD = re.compile(r"[^\W_]+")
# Of scripts that put no spaces between words.
_LETTER = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_CANARY = re.compile(r"[\w-]{8,}")
_LONGEST_CANARY, _SHORTEST_CANARY, _MOST_PIECES = 128, 8, 8
_SIGN = re.compile("[_-]+")


class RepeatedPrompt:
    """Finds GRAM words in a row of a prompt, whatever stands between them and in whatever case; of
    scripts without spaces, twice as many letters. A shorter prompt is found as a whole, if it has
    at least four words. So many letters in a row are found without the words, too: where their
    lines are numbered, or where there is nothing between the words.
    """

    def __init__(self, prompts: Sequence[str]) -> None:
        said = [*prompts, " ".join(prompts)]
        said += [form.text for form in map(plain_form, said) if form]
        self._grams = {gram for prompt in said for gram, _ in _grams(prompt)}
        whole = [(_letters(each)[0], len(_WORD.findall(each))) for each in said]
        self._runs = {run for letters, _ in whole for run in _runs(letters)}
        short = {letters for letters, words in whole if _FEWEST_WORDS <= words < GRAM}
        self._short = {letters for letters in short if len(letters) < _LETTER_RUN}

    def __call__(self, text: str) -> Iterator[AnswerFinding]:
        for gram, (start, end) in _grams(text):
            if gram in self._grams:
                yield AnswerFinding(FindingKind.PROMPT, start, end)
        letters, places = _letters(text)
        for first, last in self._repeated(letters):
            yield AnswerFinding(FindingKind.PROMPT, places[first], places[last] + 1)

    def _repeated(self, letters: str) -> Iterator[tuple[int, int]]:
        """The first and the last place of what repeats a prompt."""
        first = last = -1
        for at, run in enumerate(_runs(letters)):
            if run in self._runs:
                if first >= 0 and at > last + 1:
                    yield first, last + _LETTER_RUN - 1
                    first = -1
                first, last = (at if first < 0 else first), at
        if first >= 0:
            yield first, last + _LETTER_RUN - 1
        for short in self._short:
            if (at := letters.find(short)) >= 0:
                yield at, at + len(short) - 1


class Canaries:
    """Finds words by their SHA-256 digests, as they are, in small letters or in capitals; between
    signs such as `-`, too, of which a word may have some itself.
    """

    def __init__(self, digests: Sequence[str]) -> None:
        self._is_one = lru_cache(MOST_REMEMBERED)(partial(_is_canary, frozenset(digests)))

    def __call__(self, text: str) -> Iterator[AnswerFinding]:
        for run in _CANARY.finditer(text):
            if any(self._is_one(said) for said in _pieces(run[0])):
                yield AnswerFinding(FindingKind.CANARY, *run.span())


def _is_canary(digests: frozenset[str], said: str) -> bool:
    return not digests.isdisjoint(map(_digest, {said, said.lower(), said.upper()}))


def _pieces(run: str) -> Iterator[str]:
    """The parts of a run, from one sign to another, that may be a canary."""
    starts = [0, *(sign.end() for sign in _SIGN.finditer(run))]
    ends = [*(sign.start() for sign in _SIGN.finditer(run)), len(run)]
    for place, start in enumerate(starts):
        for end in ends[place : place + _MOST_PIECES]:
            if _SHORTEST_CANARY <= end - start <= _LONGEST_CANARY:
                yield run[start:end]
    if len(starts) > _MOST_PIECES and len(run) <= _LONGEST_CANARY:
        yield from {run, run.strip("_-")}


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _letters(text: str) -> tuple[str, list[int]]:
    """The letters alone, whatever their case, and where each stands."""
    small = text.lower()
    if len(small) != len(text):
        small = "".join(each.lower()[0] for each in text)
    return "".join(filter(str.isalpha, small)), [
        at for at, each in enumerate(small) if each.isalpha()
    ]


def _runs(letters: str) -> Iterator[str]:
    return (letters[at : at + _LETTER_RUN] for at in range(len(letters) - _LETTER_RUN + 1))


def _grams(text: str) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    """The words and letters in a row that are compared, each with its place."""
    for pattern, size in ((_WORD, GRAM), (_LETTER, 2 * GRAM)):
        found = list(pattern.finditer(text))
        words = [each.group().casefold() for each in found]
        for at in range(len(words) - size + 1):
            yield tuple(words[at : at + size]), (found[at].start(), found[at + size - 1].end())
