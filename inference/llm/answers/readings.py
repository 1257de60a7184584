"""Other writings of a text, in which it says what patterns would not find as it stands.

1. Characters in other forms, and escapes: full-width letters and digits, digits of other scripts,
   dashes, look-alikes of Latin letters; invisible characters and marks on letters are left out;
   `%40`, `\\u0040`, `&#64;`, `(at)`.
2. Letters with the same gap between them: `A K I A`.
3. Base64 and hexadecimal digits, where their bytes are text.

Each reading knows where its characters stand in the text. Ordinary text has no reading.
"""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inference.text.text_windows import latin

_ESCAPES = re.compile(
    r"%[0-9A-Fa-f]{2}|\\u00[0-9A-Fa-f]{2}|\\x[0-9A-Fa-f]{2}"
    r"|&(?:#[0-9]{1,6}|#[xX][0-9A-Fa-f]{1,5}|commat|period|plus|hyphen|num|colon|sol|lowbar);"
    r"| ?[\[({<](?:at|dot)[\])}>] ?",
    re.IGNORECASE,
)
_WORDS = {"at": "@", "dot": "."}
_SPACED = re.compile(r"(?<![^\W_])\S([ \t\n.,*|_-]{1,2})\S(?:\1\S){8,}(?![^\W_])")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}")
_HEX = re.compile(r"[0-9A-Fa-f]{2}(?:[ :]?[0-9A-Fa-f]{2}){7,}")
_URL_SAFE = str.maketrans("-_", "+/")
# Between words it is punctuation.
_LONG_DASH = re.compile(r"(?<=[0-9A-Z])[\u2014\u2015](?=[0-9A-Z])")
# Common in texts, and in no secret.
_PUNCTUATION = "\u2014\u2015\uff0c\uff01\uff1f\uff08\uff09\uff1b"
_UNSEEN = frozenset({"Cf", "Mn", "Me"})


@dataclass(frozen=True, slots=True)
class OtherWriting:
    """Another writing of a text. `starts` and `ends` have each character's place in the text."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def place(self, start: int, end: int) -> tuple[int, int]:
        """The place in the text of the reading's characters from `start` up to `end`."""
        return self.starts[start], self.ends[end - 1]


def readings(text: str) -> Iterator[OtherWriting]:
    """The readings of a text, apart from the text itself."""
    form = plain_form(text)
    if form is not None:
        yield form
    for run in _SPACED.finditer(text):
        starts = range(run.start(), run.end(), 1 + len(run[1]))
        yield OtherWriting(run[0][:: starts.step], starts, [start + 1 for start in starts])
    for run in _HEX.finditer(text):
        yield from _bytes_of(run, bytes.fromhex(run[0].replace(":", " ")))
    for run in _BASE64.finditer(text):
        for skipped in range(4):
            if found := [*_bytes_of(run, _from_base64(run[0][skipped:]))]:
                yield from found
                break


def plain_form(text: str) -> OtherWriting | None:
    """The text with characters in their common form and without escapes; None where it is so."""
    escapes = [*_ESCAPES.finditer(text)]
    if not escapes and text.isascii():
        return None
    common = _LONG_DASH.sub("-", text)
    if not escapes and all(len(_FORMS[ord(each)]) == 1 for each in set(common)):
        form = latin(common.translate(_FORMS))
        places = range(len(text) + 1)
        return None if form == text else OtherWriting(form, places[:-1], places[1:])
    return _placed(common, escapes)


def _placed(text: str, escapes: Sequence[re.Match[str]]) -> OtherWriting:
    """The common form of a text in which something else stands for no character, or for several."""
    letters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def add(form: str, start: int, end: int) -> None:
        letters.append(form)
        starts.extend([start] * len(form))
        ends.extend([end] * len(form))

    at = 0
    said = [(*each.span(), _unescaped(each[0])) for each in escapes]
    for start, end, form in [*said, (len(text), len(text), "")]:
        for place in range(at, start):
            add(_FORMS[ord(text[place])], place, place + 1)
        add(form, start, end)
        at = end
    return OtherWriting(latin("".join(letters)), starts, ends)


class _Forms(dict[int, str]):
    """The form of each character, by its code point."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        category = unicodedata.category(character)
        if character.isascii():
            form = character
        elif category in _UNSEEN:
            form = ""
        elif character in _PUNCTUATION:
            form = character
        elif category == "Pd" or character == "\u2212":
            form = "-"
        elif character == "\u2026":
            form = "."
        elif category == "Nd":
            form = str(unicodedata.decimal(character))
        else:
            form = unicodedata.normalize("NFKC", character)
        # There are a million characters at most.
        self[number] = form
        return form


_FORMS = _Forms()


def _unescaped(said: str) -> str:
    said = said.strip()
    if said[0] == "&":
        return html.unescape(said)
    if said[0] in "%\\":
        letter = chr(int(said.lstrip("%\\uUxX"), 16))
        return letter if letter.isascii() else said
    return _WORDS[said[1:-1].lower()]


def _bytes_of(run: re.Match[str], data: bytes) -> Iterator[OtherWriting]:
    """A run's reading, if its bytes are text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    if text and all(each.isprintable() or each.isspace() for each in text):
        yield OtherWriting(text, [run.start()] * len(text), [run.end()] * len(text))


def _from_base64(run: str) -> bytes:
    """Its bytes, as far as they are whole; none where it is no base64."""
    run = "".join(run.split()).rstrip("=").translate(_URL_SAFE)
    try:
        return base64.b64decode(run[: len(run) // 4 * 4] + _rest(run), validate=True)
    except binascii.Error:
        return b""


def _rest(run: str) -> str:
    """The last characters, filled up."""
    rest = run[len(run) // 4 * 4 :]
    return rest + "=" * (4 - len(rest)) if len(rest) > 1 else ""
