"""Real e-mails of more than 2,048 tokens, and others to learn from."""

import json
from dataclasses import dataclass

import numpy as np

from benchmarks.training.rows import EMAILS, minilm
from inference.text import tokens
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids, TokenRules
from training.demo.spam import body
from training.models.encoder import MINILM
from training.steps.teachers import tokenizer_in

SHORTEST, LONGEST = 2049, 4096
_SHORT = 64
_TEXT_BYTES = 1 << 18
_SEED = 20261126


@dataclass(frozen=True, slots=True, eq=False)
class Mails:
    """`short`: the first 64 tokens of some e-mails; `long`: the first 4,096 of others, which have
    over 2,048. Both with their classes.
    """

    short: tuple[Ids, np.ndarray]
    long: tuple[Ids, np.ndarray]


def read(short: int, long: int) -> Mails:
    """So many of each. Raises ValueError where there are fewer."""
    rows, classes = _all()
    order = np.random.default_rng(_SEED).permutation(len(rows))
    learnt, rest = order[:short], order[short:]
    found = rest[tokens.lengths(rows)[rest] >= SHORTEST][:long]
    if len(found) < long:
        raise ValueError(f"only {len(found)} e-mails are long")
    cut = tokens.resized(rows[learnt], _SHORT)
    return Mails((cut, classes[learnt]), (rows[found], classes[found]))


def _all() -> tuple[Ids, np.ndarray]:
    """Every e-mail once, with 1 for spam."""
    rules = TokenRules(MINILM.vocabulary, (LONGEST,), tokens.TRUNCATE, _TEXT_BYTES)
    cutter = TextTokenizer.open(tokenizer_in(minilm()) or b"", rules)
    found: dict[bytes, tuple[Ids, int]] = {}
    for path in sorted(EMAILS.glob("*/*.json")):
        text = body(json.loads(path.read_text())["text"])[: _TEXT_BYTES // 4]
        row = tokens.resized(cutter.rows([text.encode(errors="ignore")]), LONGEST)[0]
        found.setdefault(row.tobytes(), (row, int("spam" in path.parent.name)))
    rows, classes = zip(*found.values(), strict=True)
    return np.stack(rows), np.array(classes, np.int64)
