"""Converts texts to rows of tokens with the version's `tokenizer.json`.

`tokenizer_file` says what that may have. Its sections on truncation and padding are ignored:
`model.json` defines both.
"""

import threading
from collections.abc import Iterable

import numpy as np
import tokenizers

from inference.text.tokenizer_file import CLASSIFIER, refusing
from inference.text.tokens import NO_TOKEN, TRUNCATE, Ids, TokenRules
from sealgate.probes import PROBES
from sealgate.reasons import Reason, SealgateError

# While it is cut, a text takes some two hundred times its size. So of requests with more characters
# than this, whoever's they are, few are cut at once, and the others wait for seconds at most.
_LARGE = 16 << 10
large_texts = threading.BoundedSemaphore(2)
PATIENCE_SECONDS = 1.0


class TextTokenizer:
    """Safe for many threads: nothing of it changes once it is opened."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, rules: TokenRules) -> None:
        self._tokenizer = tokenizer
        self._rules = rules

    @classmethod
    def open(cls, data: bytes, rules: TokenRules) -> "TextTokenizer":
        """Raises: FILE_TOO_LARGE; FORMAT_REFUSED for what is not a tokenizer, or may not be one of
        a classifier; GRAPH_MISMATCH where it knows tokens beyond the vocabulary.
        """
        tokenizer = CLASSIFIER.open(data)
        if max(tokenizer.get_vocab().values(), default=-1) >= rules.vocabulary:
            raise SealgateError(
                Reason.GRAPH_MISMATCH, "the tokenizer's vocabulary is not the model's"
            )
        with refusing(Reason.FORMAT_REFUSED):
            # One more than is taken tells of those that are too long.
            beyond = 0 if rules.overlong == TRUNCATE else 1
            tokenizer.enable_truncation(rules.most + beyond)
        return cls(tokenizer, rules)

    @property
    def room(self) -> int:
        """How many tokens of a text a row has: what stands around them are some too."""
        return max(1, self._rules.most - self._tokenizer.num_special_tokens_to_add(False))

    @property
    def text_bytes(self) -> int:
        """The most bytes of a text."""
        return self._rules.text_bytes

    @property
    def around(self) -> tuple[list[int], list[int]]:
        """The tokens that stand before and behind those of a text."""
        whole = self._tokenizer.encode(PROBES[0])
        mask = whole.special_tokens_mask
        before, behind = mask.index(0), mask[::-1].index(0)
        return whole.ids[:before], whole.ids[len(mask) - behind :]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token of a text stands in it, in characters, those included that are cut off.

        It takes as much memory as `rows` does, so the text is to be short.
        """
        whole = self._tokenizer.encode(text)
        return [
            span
            for part in (whole, *whole.overflowing)
            for span, is_special in zip(part.offsets, part.special_tokens_mask, strict=True)
            if not is_special
        ]

    def rows(self, texts: Iterable[bytes]) -> Ids:
        """Rows [n, s] of texts in UTF-8, s being the bucket of the longest.

        Raises TENSOR_TEXT for one without tokens, and, where the model refuses it, with too many;
        QUEUE_FULL while other large ones are being cut; INTERNAL where the library fails.
        """
        with refusing(Reason.INTERNAL):
            found = self._cut([text.decode() for text in texts])
        sizes = [len(ids) for ids in found]
        if not min(sizes) or max(sizes) > self._rules.most:
            raise SealgateError(Reason.TENSOR_TEXT, "no tokens, or more than the model takes")
        rows = np.full((len(found), max(sizes)), NO_TOKEN, np.int64)
        for row, ids in zip(rows, found, strict=True):
            row[: len(ids)] = ids
        return self._rules.fitted(rows)

    def _cut(self, texts: list[str]) -> list[list[int]]:
        if sum(map(len, texts)) <= _LARGE:
            return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]
        if not large_texts.acquire(timeout=PATIENCE_SECONDS):
            raise SealgateError(Reason.QUEUE_FULL, "other large texts are being tokenized")
        try:
            # One by one, so that only the tokens of each are kept.
            return [self._tokenizer.encode_batch_fast([text])[0].ids for text in texts]
        finally:
            large_texts.release()

    def probe(self) -> Ids:
        """Rows [len(PROBES), most] of those texts, cut to what the model takes."""
        rows = np.full((len(PROBES), self._rules.most), NO_TOKEN, np.int64)
        found = self._tokenizer.encode_batch_fast(list(PROBES))
        for row, encoding in zip(rows, found, strict=True):
            ids = encoding.ids[: self._rules.most]
            row[: len(ids)] = ids
        return rows
