"""The allowed contents of a `tokenizer.json`, so that no text costs much more than others.

The file is JSON in the format of the library `tokenizers`: it is read, never run. But its parts
determine the work done for each text, and a publisher wrote them.

1. It has listed parts only, each once, because one that lengthens a text would do so again and
   again. Language models also have parts that cut and replace; those may come a few times.
2. A template has a text once, with few tokens around it. Texts added to each word are short, and a
   replacement is no longer than the text that it replaces. A table of characters (`Precompiled`)
   has short texts.
3. Words and pieces are short, since look-ups grow with the square of their length.
4. Regular expressions are harmless: see `patterns`. A classifier's file has none.

Its sections on truncation and padding are not used.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# It would start as many threads as the host has cores; requests have threads of their own.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

# isort: split
import tokenizers

from inference.text.patterns import is_harmless
from sealgate.probes import PROBES
from sealgate.reasons import Reason, SealgateError

# Characters of a word (WordPiece) or a piece (Unigram); 100 is BERT's.
_LONGEST_LOOKUP = 100
# Characters of each text in the file but for the vocabulary, such as what stands for an unknown
# word, or before a part of one.
_LONGEST_TEXT = 256
# Tokens that are put around each text.
_MOST_SPECIAL = 16
# How often a part may come that cuts or replaces: DeepSeek's files have five.
_MOST_REPEATS = 8
# Bytes of what stands for a character: a word of Arabic that is one has 33.
_LONGEST_CHARACTER = 40
# Of the section `model`, what may be long: a text has to have it, too.
_VOCABULARY = ("vocab", "merges")
_REGEX, _CHARACTERS = "Regex", "precompiled_charsmap"
_NORMALIZER, _PRE_TOKENIZER, _POST_PROCESSOR = "normalizer", "pre_tokenizer", "post_processor"
_DECODER, _MODEL = "decoder", "model"
_PARTS = {
    _NORMALIZER: {
        *("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Sequence", "Strip"),
        "StripAccents",
    },
    _PRE_TOKENIZER: {
        *("BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Sequence"),
        *("Whitespace", "WhitespaceSplit"),
    },
    _POST_PROCESSOR: {
        *("BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"),
    },
    _DECODER: {"BPEDecoder", "ByteLevel", "Metaspace", "WordPiece"},
    _MODEL: {"BPE", "Unigram", "WordLevel", "WordPiece"},
}
_MORE = {
    _NORMALIZER: {"Precompiled", "Prepend", "Replace"},
    _PRE_TOKENIZER: {"Split"},
    _DECODER: {"ByteFallback", "Fuse", "Replace", "Sequence", "Strip"},
}
_REPEATED = ("Split", "Replace")


@dataclass(frozen=True, slots=True)
class TokenizerLimits:
    """The most bytes of a file, and the parts that each of its sections may have. `reason` is that
    of other files.
    """

    largest: int
    reason: Reason
    parts: Mapping[str, set[str]] = field(default_factory=lambda: _PARTS)

    def open(self, data: bytes) -> tokenizers.Tokenizer:
        """The tokenizer of a file, which cuts texts of any length and fills none.

        Raises SealgateError: FILE_TOO_LARGE, or `reason` for what is not such a tokenizer.
        """
        if len(data) > self.largest:
            raise SealgateError(Reason.FILE_TOO_LARGE, f"a tokenizer of {len(data)} bytes")
        text = self._checked(data)
        with refusing(self.reason):
            tokenizer = tokenizers.Tokenizer.from_str(text)
            tokenizer.no_padding()
            tokenizer.no_truncation()
            if tokenizer.num_special_tokens_to_add(False) > _MOST_SPECIAL:
                raise self._refused("it adds many tokens")
            tokenizer.encode(PROBES[0])
        return tokenizer

    def _checked(self, data: bytes) -> str:
        try:
            text = data.decode()
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._refused("it is not JSON") from error
        if not isinstance(value, dict) or not isinstance(value.get(_MODEL), dict):
            raise self._refused("it has no model")
        for section, allowed in self.parts.items():
            self._check_kinds(section, value.get(section), allowed)
        if _has_long_text(value):
            raise self._refused("its texts are too long")
        if not has_text_once(value.get(_POST_PROCESSOR)):
            raise self._refused("a template has the text once")
        if value[_MODEL].get("dropout"):
            raise self._refused("it splits at random")
        if _longest_lookup(value[_MODEL]) > _LONGEST_LOOKUP:
            raise self._refused("its words or pieces are too long")
        for section in (_NORMALIZER, _PRE_TOKENIZER, _DECODER):
            for part in _objects(value.get(section)):
                self._check_part(part)
        return text

    def _check_kinds(self, section: str, part: Any, allowed: set[str]) -> None:
        kinds = _kinds(part)
        for kind in kinds:
            if kind not in allowed:
                raise self._refused(f"its {section} may not be {kind!r}")
            if kinds.count(kind) > (_MOST_REPEATS if kind in _REPEATED else 1):
                raise self._refused(f"its {section} has {kind!r} too often")

    def _check_part(self, part: dict[str, Any]) -> None:
        """Check an object anywhere in a section. The library refuses objects of unknown form."""
        pattern = part.get(_REGEX)
        if isinstance(pattern, str) and not is_harmless(pattern):
            raise self._refused(
                f"the regular expression {pattern[:60]!r} may take too long: use one of a "
                "well-known model, or text without look-around and repeats within repeats"
            )
        if _lengthens(part):
            raise self._refused("what it puts into a text is longer than what it takes")
        table = part.get(_CHARACTERS)
        if isinstance(table, str) and _longest_character(table) > _LONGEST_CHARACTER:
            raise self._refused("a character stands for too long a text")

    def _refused(self, why: str) -> SealgateError:
        return SealgateError(self.reason, f"tokenizer.json: {why}")


CLASSIFIER = TokenizerLimits(8 << 20, Reason.FORMAT_REFUSED)
"""Of models that take texts as rows."""
LANGUAGE = TokenizerLimits(
    32 << 20,
    Reason.CHECKPOINT_REFUSED,
    {section: kinds | _MORE.get(section, set()) for section, kinds in _PARTS.items()},
)
"""Of models that generate."""


@contextmanager
def refusing(reason: Reason) -> Iterator[None]:
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
        raise SealgateError(reason, f"tokenizer: {str(error)[:200]}") from error


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
    """Whether there is one, as a name or a value, elsewhere than in the vocabulary, in regular
    expressions and in tables of characters.
    """
    model = {name: each for name, each in value[_MODEL].items() if name not in _VOCABULARY}
    waiting: list[Any] = [{**value, _MODEL: model}]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part
            waiting += [each for name, each in part.items() if name not in (_REGEX, _CHARACTERS)]
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, str) and len(part) > _LONGEST_TEXT:
            return True
    return False


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    """A part and all objects within it."""
    waiting = [part]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _lengthens(part: dict[str, Any]) -> bool:
    """Whether it replaces a text by a longer one, puts more than a character before one, or takes
    characters from its end, which the library does also where there is none.
    """
    if part.get("type") == "Replace":
        pattern = part.get("pattern")
        text = pattern.get("String") if isinstance(pattern, dict) else None
        size = len(text) if isinstance(text, str) else 1
        return not size or len(str(part.get("content"))) > size
    return len(str(part.get("prepend", ""))) > 1 or bool(part.get("stop"))


def _longest_character(table: str) -> int:
    """Bytes of the longest text that stands for a character: they follow a trie, whose size comes
    first (four bytes, little-endian), and each ends in a NUL.
    """
    try:
        data = base64.b64decode(table, validate=True)
    except binascii.Error:
        return _LONGEST_CHARACTER + 1
    texts = data[4 + int.from_bytes(data[:4], "little") :]
    return max(map(len, texts.split(b"\0")))


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
    """The kind of a part, followed by the kinds of its parts if it is a sequence.

    The parts of a sequence within a sequence are not listed. A part that names no kind counts as
    the name of its Python type.
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
