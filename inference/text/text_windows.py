"""Splits a long text into overlapping windows for a classifier of limited length.

1. The text is normalised: each character becomes the letters that it stands for (NFKC; tags are
   letters too, and so are look-alikes within Latin words), invisible characters are removed, white
   space becomes one space, and words are broken if they are so long that a tokenizer may know them
   as a whole or not at all.
2. The classifier's own tokenizer splits it into windows of the length that it reads. Each window
   but the first begins half a window after the previous one, or a word earlier. So a passage of
   half a window, less two words, is complete in at least one window, wherever it stands.
3. Hidden readings of a text, for example in base64 or leetspeak (`readings`), have windows too.

A prompt classifier is trained, calibrated and asked on these windows only, so its measurements
hold for nothing else.

Any window of a text may raise a false alarm, so a longer text raises more of them. Its threshold
may therefore be higher, by classes of length (`added`): each is calibrated on clean texts of that
length alone (Mondrian conformal prediction: Vovk, "Conditional validity of inductive conformal
predictors", 2012), and no class pays for a longer one.

A language model reads text in other writings, and a classifier that was shown its characters alone
does not. So a reading is shown to the classifier beside the text itself. Ordinary text has none.

- Base64 and its form for URLs (RFC 4648, sections 4 and 5), over several lines too, and
  hexadecimal digits: of each run of at least 16 characters the bytes, where they are text in UTF-8.
  A reading may have one inside.
- Leetspeak: digits and signs that stand for letters inside words, where two words at least have
  digits between letters, or letters between digits. All such words are written in letters then.
- Escapes of URLs, HTML and programming languages, where they stand for at least four letters: who
  has no need to escape a letter hides it.
- Spaced letters: at least eight with a gap between them, as in `i g n o r e`. The first gap of such
  a run is within words; another one is between them.

Look-alikes of Latin letters are not read apart: within a word that has Latin letters, `latin`
writes them as these. The pairs are a part of Unicode's `confusables.txt` (UTS 39, section 4).
"""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

from inference.text.tokenizer import TextTokenizer

# A WordPiece knows words of a hundred letters, and a letter of Korean is three to it.
_BROKEN = re.compile(r"\S{32}(?=\S)")
_TAGS = range(0xE0020, 0xE007F)
# Characters that are given at first for each token.
_LETTERS = 8
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\s[A-Za-z0-9+/_-]{4,})*={0,2}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){8,}")
_URL_SAFE = str.maketrans("-_", "+/")
_NESTED = 2
_LEET = str.maketrans("0134578@$!|+", "oieastbasilt")
# No part of an escape, such as `%20b`.
_LEET_WORD = re.compile(r"(?<![\w@$!|+%])[A-Za-z0-9@$!|+]+")
# `gn0r3` and `3x3`, not `mp3`, `4th` or an e-mail address.
_AMONG_LETTERS = re.compile(r"[A-Za-z][0134578$]+[A-Za-z]|[0134578$][A-Za-z]+[0134578$]")
_FEWEST_WORDS, _LONGEST_WORD = 2, 24
_ESCAPE = re.compile(
    r"%[0-9A-Fa-f]{2}|\\x[0-9A-Fa-f]{2}|\\u00[0-9A-Fa-f]{2}|&#[0-9]{2,3};|&#[xX][0-9A-Fa-f]{2};"
)
_FEWEST_ESCAPED = 4
_SPACED = re.compile(r"(?<!\w)[^\W\d_](?:[\s.,*|_/-]{1,3}[^\W\d_]){7,}(?!\w)")
_GAP = re.compile(r"[\s.,*|_/-]+")
_WORD = re.compile(r"\w+")
_LETTER = re.compile(r"[A-Za-z]")
_LATIN = str.maketrans(
    "аеорсухіјѕһԁԛԝгьАВЕЅІЈКМНОРСТУХΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρυιγτκ",
    "aeopcyxijshdqwrbABESIJKMHOPCTYXABEZHIKMNOPTYXoavpuiytk",
)


def added(by_windows: Mapping[int, int], windows: int) -> int:
    """The amount by which the threshold is raised for a text of that many windows: the value in
    `by_windows` of the largest number of windows that the text reaches; 0 below all.
    """
    reached = [begin for begin in by_windows if begin <= windows]
    return by_windows[max(reached)] if reached else 0


class Windows:
    """Splits texts into windows. Safe for many threads."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._room = tokenizer.room

    def of(self, text: str) -> list[str]:
        """Of one text, in order, and of what it says besides; none of one in which there is nothing
        to read.
        """
        found = self.along(plain(text))
        for read in readings(_visible(text)):
            found += self.along(plain(read))
        return found

    def over(self, texts: Iterable[str]) -> list[str]:
        """Of texts in a row, one over each place where two meet: half of it stands before that."""
        said = [text for text in map(plain, texts) if text]
        row = " ".join(said)
        seams = list(accumulate(len(text) + 1 for text in said[:-1]))
        found = (self._at(row, self._before(row, seam))[0] for seam in seams)
        return list(dict.fromkeys(window for window in found if window))

    def along(self, text: str) -> list[str]:
        """Of a text that is plain, in order, without what it says besides."""
        found, start = [], 0
        while start < len(text):
            window, start = self._at(text, start)
            found.append(window)
        return [window for window in found if window]

    def _at(self, text: str, start: int) -> tuple[str, int]:
        """The window that begins at `start`, and where the next one does."""
        piece, spans = self._read(text, start)
        if not spans:
            return "", start + len(piece)
        if len(spans) > self._room:
            middle, end = spans[self._room // 2][0], spans[self._room - 1][1]
        elif start + len(piece) == len(text):
            return piece, len(text)
        else:
            middle, end = len(piece) // 2, len(piece)
        space = piece.rfind(" ", middle + 1, end + 1)
        end = space if space > 0 else self._fitting(piece, middle, end)
        following = piece.rfind(" ", 0, middle + 1) + 1
        return piece[:end], start + (following or max(middle, 1))

    def _read(self, text: str, start: int) -> tuple[str, Sequence[tuple[int, int]]]:
        """The text from `start` on, longer than a window if there is enough, and the spans of its
        tokens.
        """
        most = self._tokenizer.text_bytes
        for letters in (_LETTERS * self._room, most):
            # No window has more bytes than the model takes of a text.
            cut = text[start : start + letters].encode()[:most]
            piece = cut.decode(errors="ignore") or text[start]
            spans = self._tokenizer.spans(piece)
            if len(spans) > self._room or start + len(piece) == len(text):
                break
        return piece, spans

    def _fitting(self, piece: str, middle: int, end: int) -> int:
        """An end in the middle of a word, which may be cut otherwise now that it ends there."""
        while end > middle + 1 and len(self._tokenizer.spans(piece[:end])) > self._room:
            end -= 1
        return end

    def _before(self, row: str, seam: int) -> int:
        """Where the window over a seam begins."""
        first = max(0, seam - _LETTERS * self._room)
        piece, half = row[first:seam], max(1, self._room // 2)
        spans = self._tokenizer.spans(piece)
        begin = spans[-half][0] if len(spans) > half else 0
        if first + begin and row[first + begin - 1] != " ":
            # With the next word, if there is one before the seam.
            begin = (piece.find(" ", begin, -1) + 1) or begin
        return first + begin


def plain(text: str) -> str:
    """The normalised text."""
    text = latin(_visible(text))
    return _BROKEN.sub(r"\g<0> ", " ".join(text.replace("\0", " ").split()))


def _visible(text: str) -> str:
    return text if text.isascii() else "".join(map(_letters, text))


@lru_cache(maxsize=1 << 14)
def _letters(character: str) -> str:
    """The letters that one character stands for. Normalising a whole text would sort its runs of
    combining marks, which takes quadratic time.
    """
    if ord(character) in _TAGS:
        return chr(ord(character) - _TAGS.start + ord(" "))
    if unicodedata.category(character) == "Cf":
        return ""
    return unicodedata.normalize("NFKC", character)


def readings(text: str) -> list[str]:
    """The hidden readings of a text, each once; most texts have none."""
    found = [*_decoded(text, _NESTED), _without_leet(text), _unescaped(text), _unspaced(text)]
    return [read for read in dict.fromkeys(found) if read != text]


def latin(text: str) -> str:
    """The text with look-alikes of Latin letters as these, in each word that has Latin letters."""
    if text.isascii():
        return text
    return _WORD.sub(
        lambda word: word[0].translate(_LATIN) if _LETTER.search(word[0]) else word[0], text
    )


def _decoded(text: str, deep: int) -> Iterator[str]:
    """The texts that are encoded in a text, and in these in turn, at most `deep` levels."""
    if deep == 0:
        return
    found = [_as_text(bytes.fromhex(run)) for run in _HEX.findall(text)]
    for run in _BASE64.findall(text):
        whole = _as_text(_from_base64(run))
        found += [whole] if whole else [_as_text(_from_base64(part)) for part in run.split()]
    for said in filter(None, found):
        yield said
        yield from _decoded(said, deep - 1)


def _as_text(data: bytes) -> str:
    """The text that bytes are; empty where they are none, as those of a word that happens to be
    base64: they cannot be printed.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ""
    return text if all(each.isprintable() or each.isspace() for each in text) else ""


def _from_base64(run: str) -> bytes:
    """The bytes of a run, without a character too many; none where it is no base64."""
    run = "".join(run.split()).rstrip("=").translate(_URL_SAFE)
    run = run[: len(run) - (len(run) % 4 == 1)]
    try:
        return base64.b64decode(run + "=" * (-len(run) % 4), validate=True)
    except binascii.Error:
        return b""


def _without_leet(text: str) -> str:
    words = set(_LEET_WORD.findall(text))
    hidden = {each for each in words if len(each) <= _LONGEST_WORD and _AMONG_LETTERS.search(each)}
    if len(hidden) < _FEWEST_WORDS:
        return text
    return _LEET_WORD.sub(
        lambda word: word[0].translate(_LEET) if _LETTER.search(word[0]) else word[0], text
    )


def _unescaped(text: str) -> str:
    """The text without escapes, if letters are among them."""
    letters = sum(bool(_LETTER.match(_escaped(said))) for said in _ESCAPE.findall(text))
    if letters < _FEWEST_ESCAPED:
        return text
    return _ESCAPE.sub(lambda said: _escaped(said[0]), text)


def _escaped(said: str) -> str:
    """The character of an escape. A byte above 127 is part of a character and stays escaped."""
    if said[0] == "&":
        return html.unescape(said)
    character = chr(int(said.lstrip("%\\ux"), 16))
    return character if character.isascii() else said


def _unspaced(text: str) -> str:
    """The text with the letters of spaced words together."""
    return _SPACED.sub(lambda run: _closed(run[0]), text)


def _closed(run: str) -> str:
    gap, *_ = _GAP.findall(run)
    return _GAP.sub(lambda other: "" if other[0] == gap else " ", run)
