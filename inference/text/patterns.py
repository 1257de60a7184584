r"""Regular expressions that a tokenizer may have: those whose time is linear in the text.

The library runs them by backtracking, so a pattern such as `(a+)+$` takes hours on a long text, and
one as plain as `\s+$` the square of its length. A pattern is accepted, whoever wrote it, if it
takes every character that it reads:

1. A pattern is alternatives of items, each with a repeat: a character, a class of characters, or
   a group of words. No look-around, no reference, and no repeat within a group.
2. The required items of an alternative come first, and are short. Items behind an unbounded repeat
   are optional. So an alternative fails after a few steps, or takes every character that it read.

The patterns of GPT-2, GPT-4, GPT-4o, Llama 3, Qwen2, DeepSeek and Mistral have four more, which are
known by their text:

3. `\s+(?!\S)` takes all blanks but the last.
4. `\s*[\r\n]+` and `\s+$` read blanks that they may not take. One of the alternatives behind them
   takes these blanks at once.
5. `U*L+`, for capital and small letters, reads capitals that it may not take. `U+L*`, the next
   alternative, does.
"""

import re
from dataclasses import dataclass

LONGEST = 1024
"""Characters of a pattern: DeepSeek's lists the letters of a dozen scripts."""
# Ways to fail at one character, of all alternatives together: GPT-4o's have about fifty.
_MOST_STEPS = 512
_CLASS = r"\[\^?(?:\\[pP]\{\^?\w+\}|\\[sSdDwWrnt]|\\[^\w\s<>'`]|[^\[\]\\])+\]"
_ONE = rf"(?:{_CLASS}|\\[pP]\{{\^?\w+\}}|\\[sSdDwWrnt]|\\[^\w\s<>'`]|[^\[\](){{}}\\^$.|?*+])"
_ITEM = re.compile(
    rf"{_ONE}(?P<times>[?*+]\+?|\{{\d(?:,\d?)?\}}(?![?*+]))?"
    rf"|\((?:\?i?:)?(?P<words>{_ONE}+(?:\|{_ONE}+)*)\)(?P<maybe>\?(?![?*+]))?"
)
_BLANKS = r"\s+(?!\S)"
_TAKES_BLANKS = (_BLANKS, r"\s+", r"\s++")
_READS_BLANKS = (r"\s*[\r\n]+", r"\s*[\r\n]", r"\s+$", r"\s++$")
_HEAD = r"[^\r\n\p{L}\p{N}]?"
_CAPITAL, _SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TAILS = ("", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?")
# By each alternative that reads what it may not take, the one that takes it.
_TAKEN_BY = {
    f"{_HEAD}{_CAPITAL}*{_SMALL}+{tail}": f"{_HEAD}{_CAPITAL}+{_SMALL}*{tail}" for tail in _TAILS
}


def is_harmless(pattern: str) -> bool:
    """Whether the time of a pattern grows with the text, and no faster."""
    if len(pattern) > LONGEST:
        return False
    alternatives = _alternatives(pattern.replace("\r", r"\r").replace("\n", r"\n"))
    steps = 0
    for place, alternative in enumerate(alternatives):
        if alternative == _BLANKS or _is_taken_later(alternatives, place):
            continue
        found = _steps(alternative)
        if found is None:
            return False
        steps += found
    return bool(alternatives) and steps <= _MOST_STEPS


def _is_taken_later(alternatives: list[str], place: int) -> bool:
    """Whether what this alternative reads in vain is taken by one behind it (4. and 5.)."""
    alternative, behind = alternatives[place], alternatives[place + 1 :]
    if alternative in _READS_BLANKS:
        for other in behind:
            if other not in _READS_BLANKS:
                return other in _TAKES_BLANKS
    return bool(behind) and _TAKEN_BY.get(alternative) == behind[0]


def _alternatives(pattern: str) -> list[str]:
    """The pattern cut at each `|` that is in no class and no group; none where it has other parts
    than items and the few that are known.
    """
    found, start, place = [], 0, 0
    while place < len(pattern):
        if pattern[place] == "|":
            found.append(pattern[start:place])
            start = place = place + 1
        elif pattern.startswith(_BLANKS, place) and place == start:
            place += len(_BLANKS)
        elif pattern.startswith("$", place):
            place += 1
        elif item := _ITEM.match(pattern, place):
            place = item.end()
        else:
            return []
    return [*found, pattern[start:]]


@dataclass(frozen=True, slots=True)
class _Repeat:
    """How often an item stands at least and at most; `most` is None where there is no end."""

    least: int
    most: int | None


def _steps(alternative: str) -> int | None:
    """How many steps it takes at most until it fails or nothing more can fail (1. and 2.); None
    where that is not known, or where it takes nothing.
    """
    place, least, ways, is_endless = 0, 0, 1, False
    while place < len(alternative):
        item = _ITEM.match(alternative, place)
        if item is None:
            return None
        repeat, words = _repeat(item), (item["words"] or "").count("|") + 1
        if is_endless and repeat.least:
            return None
        if repeat.most is not None and repeat.most < repeat.least:
            return None
        if not is_endless:
            size = len(item["words"] or "-")
            least += repeat.least * size
            ways *= words * ((repeat.most or repeat.least) - repeat.least + 1)
            is_endless = repeat.most is None
        place = item.end()
    return least * ways if least else None


def _repeat(item: re.Match[str]) -> _Repeat:
    if item["words"]:
        return _Repeat(0 if item["maybe"] else 1, 1)
    times = item["times"] or "{1}"
    if times[0] == "{":
        first, comma, last = times[1:-1].partition(",")
        return _Repeat(int(first), int(last) if last else None if comma else int(first))
    return {"?": _Repeat(0, 1), "*": _Repeat(0, None), "+": _Repeat(1, None)}[times[0]]
