"""What a text also says where it writes letters as something else: base64, hexadecimal, leetspeak.

A language model reads such text, and a classifier that was shown its characters alone does not. So
a reading is shown to the classifier beside the text itself. Ordinary text has none.

- Base64 and its form for URLs (RFC 4648, sections 4 and 5), over several lines too, and
  hexadecimal digits: of each run of at least 16 characters the bytes, where they are text in UTF-8.
  A reading may have one inside.
- Leetspeak: digits and signs that stand for letters inside words, where two words at least have
  digits between letters, or letters between digits. All such words are written in letters then.

Look-alikes of Latin letters are not read apart: within a word that has Latin letters, `latin`
writes them as these. The pairs are a part of Unicode's `confusables.txt` (UTS 39, section 4).
"""

import base64
import binascii
import re
from collections.abc import Iterator

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\s[A-Za-z0-9+/_-]{4,})*={0,2}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){8,}")
_URL_SAFE = str.maketrans("-_", "+/")
_NESTED = 2
_LEET = str.maketrans("0134578@$!|+", "oieastbasilt")
_LEET_WORD = re.compile(r"[A-Za-z0-9@$!|+]+")
# `gn0r3` and `3x3`, not `mp3`, `4th` or an e-mail address.
_AMONG_LETTERS = re.compile(r"[A-Za-z][0134578$]+[A-Za-z]|[0134578$][A-Za-z]+[0134578$]")
_FEWEST_WORDS, _LONGEST_WORD = 2, 24
_WORD = re.compile(r"\w+")
_LETTER = re.compile(r"[A-Za-z]")
_LATIN = str.maketrans(
    "аеорсухіјѕһԁԛԝгьАВЕЅІЈКМНОРСТУХΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρυιγτκ",
    "aeopcyxijshdqwrbABESIJKMHOPCTYXABEZHIKMNOPTYXoavpuiytk",
)


def readings(text: str) -> list[str]:
    """What a text says besides, each once; of most texts nothing."""
    found = list(_decoded(text, _NESTED))
    if (read := _without_leet(text)) != text:
        found.append(read)
    return list(dict.fromkeys(found))


def latin(text: str) -> str:
    """The text with look-alikes of Latin letters as these, in each word that has Latin letters."""
    if text.isascii():
        return text
    return _WORD.sub(
        lambda word: word[0].translate(_LATIN) if _LETTER.search(word[0]) else word[0], text
    )


def _decoded(text: str, deep: int) -> Iterator[str]:
    """What is encoded in a text, and in that, `deep` times at most."""
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
