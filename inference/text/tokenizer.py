"""Converts texts to rows of tokens with the version's `tokenizer.json`.

The file is JSON in the format of the library `tokenizers`: it is read, never run. The parts that it
may use are listed here, each at most once, because a part that lengthens a text would do so again
and again. For the same reason a template has a text once, with few tokens around it, and what is
put to each word or token is short. The file contains no regular expressions, whose worst case a
caller could trigger, and no long words or pieces, since lookups grow with the square of their
length. Its sections on truncation and padding are ignored: `model.json` defines both.
"""

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# It would start as many threads as the host has cores; requests have threads of their own.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

# isort: split
import tokenizers

from inference.text.tokens import NO_TOKEN, TRUNCATE, Ids, TokenRules
from sealgate.probes import PROBES
from sealgate.reasons import Reason, SealgateError

LARGEST = 8 << 20
# Characters of a word (WordPiece) or a piece (Unigram); 100 is BERT's.
_LONGEST_LOOKUP = 100
# Characters of each text in the file but for the vocabulary, such as what stands for an unknown
# word, or before a part of one.
_LONGEST_TEXT = 256
# Tokens that are put around each text.
_MOST_SPECIAL = 16
# Of the section `model`, what may be long: a text has to have it, too.
_VOCABULARY = ("vocab", "merges")
# While it is cut, a text takes some two hundred times its size. So of requests with more characters
# than this, whoever's they are, few are cut at once, and the others wait for seconds at most.
_LARGE = 16 << 10
large_texts = threading.BoundedSemaphore(2)
PATIENCE_SECONDS = 1.0
_PARTS = {
    "normalizer": {
        *("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Sequence", "Strip"),
        "StripAccents",
    },
    "pre_tokenizer": {
        *("BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Sequence"),
        *("Whitespace", "WhitespaceSplit"),
    },
    "post_processor": {
        *("BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"),
    },
    "decoder": {"BPEDecoder", "ByteLevel", "Metaspace", "WordPiece"},
    "model": {"BPE", "Unigram", "WordLevel", "WordPiece"},
}


class TextTokenizer:
    """Safe for many threads: nothing of it changes once it is opened."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, rules: TokenRules) -> None:
        self._tokenizer = tokenizer
        self._rules = rules

    @classmethod
    def open(cls, data: bytes, rules: TokenRules) -> "TextTokenizer":
        """Raises: FILE_TOO_LARGE; FORMAT_REFUSED for what is not a tokenizer, or has a part that is
        not listed here; GRAPH_MISMATCH where it knows tokens beyond the vocabulary.
        """
        if len(data) > LARGEST:
            raise SealgateError(Reason.FILE_TOO_LARGE, f"a tokenizer of {len(data)} bytes")
        text = _checked(data)
        with _refusing(Reason.FORMAT_REFUSED):
            tokenizer = tokenizers.Tokenizer.from_str(text)
        if max(tokenizer.get_vocab().values(), default=-1) >= rules.vocabulary:
            raise SealgateError(
                Reason.GRAPH_MISMATCH, "the tokenizer's vocabulary is not the model's"
            )
        tokenizer.no_padding()
        with _refusing(Reason.FORMAT_REFUSED):
            # One more than is taken tells of those that are too long.
            beyond = 0 if rules.overlong == TRUNCATE else 1
            tokenizer.enable_truncation(rules.most + beyond)
            if tokenizer.num_special_tokens_to_add(False) > _MOST_SPECIAL:
                raise SealgateError(Reason.FORMAT_REFUSED, "a tokenizer that adds many tokens")
            tokenizer.encode(PROBES[0])
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
        with _refusing(Reason.INTERNAL):
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


@contextmanager
def _refusing(reason: Reason) -> Iterator[None]:
    """Turn any error of the library into a refusal, also the panics of its Rust code, which are no
    `Exception`; it raises nothing more precise.
    """
    try:
        yield
    except SealgateError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
            raise
        raise SealgateError(reason, f"tokenizer: {error}") from error


def _checked(data: bytes) -> str:
    try:
        text = data.decode()
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, "a tokenizer is JSON") from error
    if not isinstance(value, dict) or not isinstance(value.get("model"), dict):
        raise SealgateError(Reason.FORMAT_REFUSED, "not a tokenizer")
    for name, allowed in _PARTS.items():
        kinds = _kinds(value.get(name))
        for kind in kinds:
            if kind not in allowed or kinds.count(kind) > 1:
                raise SealgateError(
                    Reason.FORMAT_REFUSED, f"a tokenizer's {name} may not be {kind!r}"
                )
    if _has_long_text(value):
        raise SealgateError(Reason.FORMAT_REFUSED, "a tokenizer whose texts are too long")
    if not has_text_once(value.get("post_processor")):
        raise SealgateError(Reason.FORMAT_REFUSED, "a template has the text once")
    if value["model"].get("dropout"):
        raise SealgateError(Reason.FORMAT_REFUSED, "a tokenizer that splits at random")
    if _longest_lookup(value["model"]) > _LONGEST_LOOKUP:
        raise SealgateError(Reason.FORMAT_REFUSED, "a tokenizer whose words or pieces are too long")
    return text


def _longest_lookup(model: dict[str, Any]) -> int:
    """How many characters of a text are looked up together; a number only where it matters."""
    if model.get("type") == "WordPiece":
        longest = model.get("max_input_chars_per_word")
        return longest if type(longest) is int else 0
    if model.get("type") == "Unigram":
        pieces = model.get("vocab")
        texts = (
            [p[0] for p in pieces if isinstance(p, list) and p] if isinstance(pieces, list) else []
        )
        return max((len(text) for text in texts if isinstance(text, str)), default=0)
    return 0


def _has_long_text(value: dict[str, Any]) -> bool:
    """Whether there is one elsewhere than in the vocabulary, as a name or a value."""
    model = {name: each for name, each in value["model"].items() if name not in _VOCABULARY}
    waiting: list[Any] = [{**value, "model": model}]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, str) and len(part) > _LONGEST_TEXT:
            return True
    return False


def has_text_once(part: Any) -> bool:
    """Whether each template of a post-processor has the text once: the library would repeat it."""
    lists = [each for each in part.values() if isinstance(each, list)] if _is_sequence(part) else []
    for inner in (part, *(each for parts in lists for each in parts)):
        if isinstance(inner, dict) and inner.get("type") == "TemplateProcessing":
            single = inner.get("single")
            pieces = single if isinstance(single, list) else []
            if sum(isinstance(piece, dict) and "Sequence" in piece for piece in pieces) != 1:
                return False
    return True


def _is_sequence(part: Any) -> bool:
    return isinstance(part, dict) and _kind(part) == "Sequence"


def _kinds(part: Any) -> list[str]:
    """What a part says that it is, and so each part of a sequence; of a sequence within another,
    what it says alone. For what is no name of a part, the name of its type.
    """
    if part is None:
        return []
    kind = _kind(part)
    if kind != "Sequence":
        return [kind]
    lists = [value for value in part.values() if isinstance(value, list)]
    return [kind, *(_kind(inner) for parts in lists for inner in parts)]


def _kind(part: Any) -> str:
    said = part.get("type") if isinstance(part, dict) else None
    return said if isinstance(said, str) else type(part).__name__
