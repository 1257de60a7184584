"""Attacks on texts that callers could send, of texts that the model tells right.

HotFlip has the weights. It is `publishing.calibration.text_probe`'s: as the detector was shown it;
one token at a time, and none more once the answer turns; and among all tokens of the training slice
instead of the commonest. The others ask, and are told scores: words mistyped where it turns the
answer (DeepWordBug, arXiv 1801.04354), and words exchanged for synonyms of WordNet (PWWS, ACL 2019,
P19-1103). None changes more than two words in five.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.screening.subjects import CACHE, PLAIN
from benchmarks.screening.texts import synonyms
from benchmarks.screening.texts.corpora import Labels
from benchmarks.screening.texts.mistyping import KINDS, mistakable, mistake
from benchmarks.screening.texts.subjects import Floats, TextSubject
from inference.text.tokens import Ids
from publishing.calibration.text_probe import SHARES, TextProbe, inner

MOST_WORDS = 0.4
_UNKNOWN = "[UNK]"
_STOCK = 4096
MOST_TEXTS = 100
Scores = Callable[[list[str]], Floats]


@dataclass(frozen=True, slots=True)
class TextAttack:
    """`make` takes texts, their rows and classes, and returns rows; `shown` are those of the family
    that the detector is fitted to.
    """

    name: str
    make: Callable[[TextSubject, list[str], Ids, Labels], Ids]
    shown: bool = False


def _hot_flip(share: float) -> Callable[[TextSubject, list[str], Ids, Labels], Ids]:
    def make(subject: TextSubject, texts: list[str], rows: Ids, y: Labels) -> Ids:
        return _flipped(subject.probe.probe, rows, share)

    return make


def _sparing(subject: TextSubject, texts: list[str], rows: Ids, y: Labels) -> Ids:
    probe, moved = subject.probe.probe, rows.copy()
    most = np.maximum(1, MOST_WORDS * inner(rows).sum(axis=1)).astype(np.int64)
    for count in range(1, int(most.max()) + 1):
        left = np.flatnonzero((probe.answers(moved) == y) & (count <= most))
        if not len(left):
            break
        budget, done = np.full(len(left), count), moved[left] != rows[left]
        moved[left] = probe.flipped(moved[left], y[left], budget, done)
    return moved


def _any_word(subject: TextSubject, texts: list[str], rows: Ids, y: Labels) -> Ids:
    probe = subject.probe.probe
    train = subject.rows["train"]
    wider = TextProbe.over(
        probe.measured, probe.stepped, probe.rules, probe.eps, train, candidates=_STOCK
    )
    return _flipped(wider, rows, SHARES[1])


def _flipped(probe: TextProbe, rows: Ids, share: float) -> Ids:
    made = dict(probe.attacks(rows, np.random.default_rng(0)))
    return made[f"hotflip-{share:g}"]


def _mistypes(subject: TextSubject, texts: list[str], rows: Ids, y: Labels) -> Ids:
    def candidates(words: list[str], at: int) -> list[str]:
        if not mistakable(words[at]):
            return []
        generator = np.random.default_rng(at)
        return [mistake(words[at], kind, generator) for kind in range(KINDS)]

    return _asked(subject, texts, y, candidates)


def _exchanges(subject: TextSubject, texts: list[str], rows: Ids, y: Labels) -> Ids:
    known = synonyms.read()
    return _asked(subject, texts, y, lambda words, at: known.get(words[at], []))


def _asked(
    subject: TextSubject,
    texts: list[str],
    y: Labels,
    candidates: Callable[[list[str], int], list[str]],
) -> Ids:
    pairs = zip(texts, y, strict=True)
    moved = [greedy(subject.scores, text, int(label), candidates) for text, label in pairs]
    return subject.cutter.rows(moved)


def greedy(
    scores: Scores, text: str, label: int, candidates: Callable[[list[str], int], list[str]]
) -> str:
    """The text with words exchanged, those first on which most depends and which give way most,
    until another class is answered or `MOST_WORDS` are.

    Each word's best candidate is found by asking with it in its place; a word weighs as much as the
    label's log odds fall without it (Ren et al., equation 8).
    """
    words = text.split(" ")
    choices = {at: found for at in range(len(words)) if (found := candidates(words, at))}
    if not choices:
        return text
    without = [_with(words, at, _UNKNOWN) for at in choices]
    tried = [(at, word) for at, found in choices.items() for word in found]
    asked = [text, *without, *(_with(words, at, word) for at, word in tried)]
    lead = _leads(scores(asked), label)
    weight = lead[0] - lead[1 : 1 + len(without)]
    weight = np.exp(weight - weight.max())
    order = []
    for place, at in enumerate(choices):
        gains = [
            (float(lead[0] - lead[1 + len(without) + index]), word)
            for index, (there, word) in enumerate(tried)
            if there == at
        ]
        gain, word = max(gains)
        order.append((gain * float(weight[place]), at, word))
    for _, at, word in sorted(order, reverse=True)[: max(1, int(MOST_WORDS * len(words)))]:
        words[at] = word
        if _leads(scores([" ".join(words)]), label)[0] < 0:
            break
    return " ".join(words)


def _with(words: list[str], at: int, word: str) -> str:
    return " ".join([*words[:at], word, *words[at + 1 :]])


def _leads(logits: Floats, label: int) -> Floats:
    others = logits.copy()
    others[:, label] = -np.inf
    found: Floats = logits[:, label] - others.max(axis=1)
    return found


TEXT_ATTACKS: tuple[TextAttack, ...] = (
    *(TextAttack(f"HotFlip {share:.0%}", _hot_flip(share), shown=True) for share in SHARES),
    TextAttack("HotFlip until it turns", _sparing, shown=True),
    TextAttack("HotFlip, any word, 20%", _any_word, shown=True),
    TextAttack("mistyped where it turns", _mistypes),
    TextAttack("synonyms", _exchanges),
)
_CODE = (Path(__file__), Path(__file__).with_name("mistyping.py"), Path(synonyms.__file__))


def made(subject: TextSubject, attack: TextAttack) -> tuple[Ids, Ids, Labels]:
    """The rows before and after, and their classes; kept by data, model, seed and attack."""
    texts, rows, y = subject.right
    texts, rows, y = texts[:MOST_TEXTS], rows[:MOST_TEXTS], y[:MOST_TEXTS]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in _CODE)).hexdigest()[:8]
    folder = CACHE / subject.corpus.name / PLAIN / str(subject.seed)
    kept = folder / f"{attack.name}-{subject.digest}-{code}.npy"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(kept, attack.make(subject, texts, rows, y))
    return rows, np.load(kept), y
