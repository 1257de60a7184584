"""Measures recall: whether a decoder can still tell what a text said far before.

Perplexity hardly asks for it: what one word far behind says matters to few tokens. So three numbers
are named in a text, at its beginning, in its middle and near its end, and its end asks for each.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from generation.models.attention_reach import LookingLayers
from generation.models.decoder import LanguageModel
from generation.models.perplexity import surprises

NAMED = {0.02: ("Alice", "71492"), 0.5: ("Robert", "38056"), 0.95: ("Maria", "92617")}
"""A person and their number, by the place in a text at which it is named, as a share of its length.
"""
# If full attention recalls less than this, the measurement says nothing about windows.
_KNOWN = 0.5
# The end of a text makes room for names and questions.
_KEPT = 0.97


@dataclass(frozen=True, slots=True)
class RecallText:
    """A text's `ids` with numbers named in it and asked for behind it. By where a number was named,
    as a share of the text: the places that `named` it with its owner, those that `asked` for it,
    and those that `told` it.
    """

    ids: Sequence[int]
    named: Mapping[float, range]
    asked: Mapping[float, range]
    told: Mapping[float, range]

    @classmethod
    def of(
        cls,
        decoder: LanguageModel,
        ids: Sequence[int],
        names: Mapping[float, tuple[str, str]] = NAMED,
    ) -> Self:
        """From the ids of a text, whose end makes room."""

        def cut(text: str) -> list[int]:
            found: list[int] = decoder.tokenizer.encode(text, add_special_tokens=False).ids
            return found

        text, whole, before = list(ids[: int(_KEPT * len(ids))]), list[int](), 0
        named, asked, told = (dict[float, range]() for _ in range(3))
        for share, (name, number) in names.items():
            at = int(share * len(text))
            whole += text[before:at]
            sentence = cut(f"\nThe secret number of {name} is {number}.\n")
            named[share] = range(len(whole), len(whole) + len(sentence))
            whole += sentence
            before = at
        whole += text[before:]
        for share, (name, number) in names.items():
            question, answer = cut(f"\nThe secret number of {name} is"), cut(f" {number}")
            asked[share] = range(len(whole), len(whole) + len(question))
            told[share] = range(asked[share].stop, asked[share].stop + len(answer))
            whole += [*question, *answer]
        return cls(whole, named, asked, told)


def recall(decoder: LanguageModel, ids: Sequence[int]) -> dict[float, float]:
    """How probable each number is where the end of a text asks for it, by where in the text it was
    named, as a share of its length.
    """
    text = RecallText.of(decoder, ids)
    first = min(place.start for place in text.told.values())
    nats = surprises(decoder.model, text.ids, first)
    return {
        share: math.exp(-float(nats[place.start - first : place.stop - first].sum()))
        for share, place in text.told.items()
    }


def looking_back(decoder: LanguageModel, ids: Sequence[int]) -> list[list[float]]:
    """How much each KV head of each layer, with full attention, looks at what was named far before:
    the largest share of attention, of a head that asks it, that is on a number's sentence where the
    number is asked for and told. Few heads do (retrieval heads: Wu et al., arXiv 2404.15574).
    """
    text = RecallText.of(decoder, ids)
    looks = []
    # A number named near the end is in every window.
    for at in list(text.named)[:-1]:
        # The first token asks for nothing yet, and the last one foretells nothing of the number.
        asking = range(text.asked[at].start + 1, text.told[at].stop - 1)
        looks.append((asking, text.named[at]))
    return LookingLayers(looks).read(decoder.model, text.ids)


def knows_any(full: Mapping[float, float]) -> bool:
    """Whether full attention recalls anything at all."""
    return any(told >= _KNOWN for told in full.values())


def share_recalled(full: Mapping[float, float], windows: Mapping[float, float]) -> float:
    """The least share, at any place, of what full attention recalls; 1 where it recalls nothing."""
    known = [windows[at] / told for at, told in full.items() if told >= _KNOWN]
    return min([1.0, *known])
