"""Whether a decoder can still tell what a text said far before.

Perplexity hardly asks for it: what one word far behind says matters to few tokens. So three numbers
are named in a text, at its beginning, in its middle and near its end, and its end asks for each.
"""

import math
from collections.abc import Mapping, Sequence

from generation.models.decoder import LanguageModel
from generation.models.perplexity import surprises

_NAMED = {0.02: ("Alice", "71492"), 0.5: ("Robert", "38056"), 0.95: ("Maria", "92617")}
# What full attention recalls with less says nothing about windows.
_KNOWN = 0.5
# The end of a text makes room for names and questions.
_KEPT = 0.97


def recall(decoder: LanguageModel, ids: Sequence[int]) -> dict[float, float]:
    """How probable each number is where the end of a text asks for it, by where in the text it was
    named, as a share of its length.
    """

    def cut(text: str) -> list[int]:
        found: list[int] = decoder.tokenizer.encode(text, add_special_tokens=False).ids
        return found

    text, whole, before = list(ids[: int(_KEPT * len(ids))]), [], 0
    for share, (name, number) in _NAMED.items():
        at = int(share * len(text))
        whole += [*text[before:at], *cut(f"\nThe secret number of {name} is {number}.\n")]
        before = at
    whole += text[before:]
    places = {}
    for share, (name, number) in _NAMED.items():
        whole += cut(f"\nThe secret number of {name} is")
        told = cut(f" {number}")
        places[share] = range(len(whole), len(whole) + len(told))
        whole += told
    first = min(place.start for place in places.values())
    nats = surprises(decoder.model, whole, first)
    return {
        share: math.exp(-float(nats[place.start - first : place.stop - first].sum()))
        for share, place in places.items()
    }


def share_recalled(full: Mapping[float, float], windows: Mapping[float, float]) -> float:
    """The least share, at any place, of what full attention recalls; 1 where it recalls nothing."""
    known = [windows[at] / told for at, told in full.items() if told >= _KNOWN]
    return min([1.0, *known])
