"""Which words mean the same, by WordNet 3.0 (Debian's wordnet-base)."""

from functools import cache
from pathlib import Path

_FOLDER = Path("/usr/share/wordnet")
_KINDS = ("noun", "verb", "adj", "adv")
_MOST = 8


@cache
def read() -> dict[str, list[str]]:
    """Of each word those that share a meaning with it, in WordNet's order, eight at most.

    A line is one meaning: offset, file, kind, count in hexadecimal, then words, each with a number
    behind it (wndb(5)). Raises FileNotFoundError where it is not installed.
    """
    found: dict[str, dict[str, None]] = {}
    for kind in _KINDS:
        path = _FOLDER / f"data.{kind}"
        if not path.exists():
            raise FileNotFoundError("synonyms: apt-get install wordnet-base")
        for line in path.read_text("latin-1").splitlines():
            if line.startswith(" "):
                continue
            parts = line.split(" ")
            words = [
                each.partition("(")[0].lower() for each in parts[4 : 4 + 2 * int(parts[3], 16) : 2]
            ]
            words = [word for word in words if word.isalpha()]
            for word in words:
                found.setdefault(word, {}).update(dict.fromkeys(words))
    return {
        word: [other for other in others if other != word][:_MOST]
        for word, others in found.items()
        if len(others) > 1
    }
