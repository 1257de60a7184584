"""Words as hands mistype them: one letter goes, comes twice, changes places or is its neighbor."""

import numpy as np

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEAR = {
    key: row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
    for row in _KEYS
    for at, key in enumerate(row)
}
_SHORTEST = 3
KINDS = 4


def mistyped(text: str, share: float, generator: np.random.Generator) -> str:
    """That share of the words that have letters enough, one at least."""
    words = text.split(" ")
    places = [at for at, word in enumerate(words) if mistakable(word)]
    count = min(len(places), max(1, round(share * len(words))))
    for at in generator.choice(places, count, replace=False) if places else ():
        words[at] = mistake(words[at], int(generator.integers(KINDS)), generator)
    return " ".join(words)


def mistakable(word: str) -> bool:
    return len(word) >= _SHORTEST and word.isalpha()


def mistake(word: str, kind: int, generator: np.random.Generator) -> str:
    """The word with one mistake of that kind, behind its first letter."""
    at = int(generator.integers(1, len(word)))
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at - 1] + word[at:]
    if kind == 2:
        return word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
    near = _NEAR.get(word[at], word[at])
    return word[:at] + near[int(generator.integers(len(near)))] + word[at + 1 :]
