"""Attacks on texts that the detector is not shown, of texts that the model tells right.

HotFlip has the weights: as publishing shows it, but with words that are rare, or one exchange at a
time with the gradient taken anew, and none more once the answer turns. `AdaptiveProbe` also knows
what the words say of each class, which `response.onnx` holds. The others ask, and are told scores:
words mistyped where it turns the answer (DeepWordBug, arXiv 1801.04354), and words exchanged for
synonyms of WordNet (PWWS, ACL 2019, P19-1103). None changes more than two words in five.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.screening.texts.corpora import Labels
from benchmarks.screening.texts.screened import Floats, ScreenedTexts
from inference.text.tokens import Ids
from publishing.attacks.text_probe import SHARES, TextProbe, inner

MOST_WORDS = 0.4
WEIGHTS = (0.5, 1.0, 2.0, 4.0)
"""Of what words say, beside the model: each in units of how much exchanges differ by it."""
_UNKNOWN = "[UNK]"
_TINY = 1e-9
_WORDNET = Path("/usr/share/wordnet")
_KINDS = ("noun", "verb", "adj", "adv")
_SYNONYMS = 8
_SHORTEST = 3
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEAR = {
    key: row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
    for row in _KEYS
    for at, key in enumerate(row)
}
Candidates = Callable[[str], Sequence[str]]
Attack = Callable[[ScreenedTexts, list[str], Ids, Labels], Iterator[Ids]]


def rare_words(model: ScreenedTexts, texts: list[str], rows: Ids, y: Labels) -> Iterator[Ids]:
    """HotFlip with a fifth of the tokens exchanged, for such as are not among its stock."""
    rare = np.setdiff1d(rows[inner(rows)], model.probe.stock)
    # The first and the last token of a row are no part of a stock.
    padded = np.concatenate([rare[:1], rare, rare[-1:]])[np.newaxis]
    probe = model.probe
    rarely = TextProbe.over(probe.measured, probe.stepped, probe.rules, probe.eps, padded)
    yield dict(rarely.attacks(rows, np.random.default_rng(0)))[f"hotflip-{SHARES[1]:g}"]


def sparing(model: ScreenedTexts, texts: list[str], rows: Ids, y: Labels) -> Iterator[Ids]:
    """HotFlip, one exchange at a time."""
    moved = rows.copy()
    most = np.maximum(1, MOST_WORDS * inner(rows).sum(axis=1)).astype(np.int64)
    for count in range(1, int(most.max()) + 1):
        left = np.flatnonzero((model.probe.answers(moved) == y) & (count <= most))
        if not len(left):
            break
        done = moved[left] != rows[left]
        moved[left] = model.probe.flipped(moved[left], y[left], np.full(len(left), count), done)
    yield moved


@dataclass(frozen=True, slots=True, eq=False)
class AdaptiveProbe(TextProbe):
    """HotFlip that also goes by `votes` [V, C], weighing `weight`."""

    votes: Floats
    weight: float

    @classmethod
    def beside(cls, probe: TextProbe, votes: Floats, weight: float) -> "AdaptiveProbe":
        own = {each.name: getattr(probe, each.name) for each in fields(TextProbe)}
        return cls(**own, votes=votes, weight=weight)

    def worth(self, rows: Ids, labels: Ids) -> Floats:
        by_model = TextProbe.worth(self, rows, labels)
        # Votes are about 0: what speaks less for the label speaks for another class.
        label = labels[:, np.newaxis, np.newaxis]
        here = self.votes[np.maximum(rows, 0)[:, :, np.newaxis], label]
        by_votes = here - self.votes[self.stock[np.newaxis, np.newaxis], label]
        found: Floats = by_model / _spread(by_model) + self.weight * by_votes / _spread(by_votes)
        return found


def adaptive(model: ScreenedTexts, texts: list[str], rows: Ids, y: Labels) -> Iterator[Ids]:
    """An attacker who knows what the words say, at each weight; the least suspect of all counts."""
    for weight in WEIGHTS:
        probe = AdaptiveProbe.beside(model.probe, model.votes, weight)
        for _, moved in probe.attacks(rows, np.random.default_rng(0)):
            yield moved


def mistyped(model: ScreenedTexts, texts: list[str], rows: Ids, y: Labels) -> Iterator[Ids]:
    """Words mistyped where it turns the answer."""
    yield _asked(model, texts, y, mistakes)


def exchanged(model: ScreenedTexts, texts: list[str], rows: Ids, y: Labels) -> Iterator[Ids]:
    """Words exchanged for synonyms. Raises FileNotFoundError without WordNet."""
    known = _synonyms()
    yield _asked(model, texts, y, lambda word: known.get(word, ()))


UNSEEN: dict[str, Attack] = {
    "HotFlip, rare words": rare_words,
    "HotFlip until it turns": sparing,
    "mistyped where it turns": mistyped,
    "synonyms": exchanged,
}
ADAPTIVE: dict[str, Attack] = {"HotFlip that knows what words say": adaptive}


def _asked(model: ScreenedTexts, texts: list[str], y: Labels, candidates: Candidates) -> Ids:
    pairs = zip(texts, y, strict=True)
    return model.cutter.rows(
        [greedy(model.logits, text, int(label), candidates) for text, label in pairs]
    )


def greedy(
    logits: Callable[[list[str]], Floats], text: str, label: int, candidates: Candidates
) -> str:
    """The text with words exchanged, those first on which most depends and which give way most,
    until another class is answered or `MOST_WORDS` are.

    Each word's best candidate is found by asking with it in its place; a word weighs as much as the
    label's lead falls without it (Ren et al., equation 8).
    """
    words = text.split(" ")
    choices = {at: found for at, word in enumerate(words) if (found := candidates(word))}
    if not choices:
        return text
    without = [_with(words, at, _UNKNOWN) for at in choices]
    tried = [(at, word) for at, found in choices.items() for word in found]
    asked = [text, *without, *(_with(words, at, word) for at, word in tried)]
    lead = _leads(logits(asked), label)
    weight = lead[0] - lead[1 : 1 + len(without)]
    weight = np.exp(weight - weight.max())
    gains: dict[int, tuple[float, str]] = {}
    for (at, word), left in zip(tried, lead[1 + len(without) :], strict=True):
        gains[at] = max(gains.get(at, (-np.inf, "")), (float(lead[0] - left), word))
    order = sorted(
        ((gain * float(share), at, word))
        for (at, (gain, word)), share in zip(gains.items(), weight, strict=True)
    )
    for _, at, word in order[::-1][: max(1, int(MOST_WORDS * len(words)))]:
        words[at] = word
        if _leads(logits([" ".join(words)]), label)[0] < 0:
            break
    return " ".join(words)


def mistakes(word: str) -> Sequence[str]:
    """As hands mistype a word, behind its first letter: one letter goes, comes twice, changes
    places or is its neighbour on the keys.
    """
    if len(word) < _SHORTEST or not word.isalpha():
        return ()
    at = 1 + sum(map(ord, word)) % (len(word) - 1)
    beside = _NEAR.get(word[at], word[at])[:1]
    return (
        word[:at] + word[at + 1 :],
        word[:at] + word[at - 1] + word[at:],
        word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
        word[:at] + beside + word[at + 1 :],
    )


@cache
def _synonyms() -> dict[str, list[str]]:
    """Of each word those that share a meaning with it, by WordNet 3.0, in its order.

    A line is one meaning: offset, file, kind, count in hexadecimal, then words, each with a number
    behind it (wndb(5)).
    """
    found: dict[str, dict[str, None]] = {}
    for kind in _KINDS:
        for line in (_WORDNET / f"data.{kind}").read_text("latin-1").splitlines():
            if line.startswith(" "):
                continue
            parts = line.split(" ")
            named = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
            words = [word for each in named if (word := each.partition("(")[0].lower()).isalpha()]
            for word in words:
                found.setdefault(word, {}).update(dict.fromkeys(words))
    return {
        word: [other for other in others if other != word][:_SYNONYMS]
        for word, others in found.items()
        if len(others) > 1
    }


def _with(words: list[str], at: int, word: str) -> str:
    return " ".join([*words[:at], word, *words[at + 1 :]])


def _leads(logits: Floats, label: int) -> Floats:
    others = logits.copy()
    others[:, label] = -np.inf
    found: Floats = logits[:, label] - others.max(axis=1)
    return found


def _spread(worth: Floats) -> float:
    return float(worth.std()) + _TINY
