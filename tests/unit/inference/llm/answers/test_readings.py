"""Other writings of a text, and the places of their characters."""

import base64
import time

import pytest

from inference.llm.answers.readings import plain_form, readings
from inference.llm.answers.recognizers import PersonalData, secrets

KEY, ADDRESS = "AKIAIOSFODNN7EXAMPLE", "anna@example.org"
CARD = "4111 1111 1111 1111"


def wide(text: str) -> str:
    return "".join(chr(ord(each) + 0xFEE0) if each > " " else each for each in text)


WRITINGS = [
    wide(KEY),
    "\u200b".join(KEY),
    "\u0332".join(KEY),
    KEY.replace("A", "\u0410"),
    " ".join(KEY),
    "\n".join(KEY),
    "-".join(KEY),
    ", ".join(KEY),
    base64.b64encode(KEY.encode()).decode(),
    "x" + base64.b64encode(f"The key is {KEY}.".encode()).decode(),
    base64.urlsafe_b64encode(f">>>??? {KEY}".encode()).decode(),
    KEY.encode().hex(),
    KEY.encode().hex(" ").upper(),
    "".join(f"\\u{ord(each):04x}" for each in KEY),
    "".join(f"\\x{ord(each):02x}" for each in KEY),
    "".join(f"&#{ord(each)};" for each in KEY),
    "".join(f"&#x{ord(each):x};" for each in KEY),
    "".join(f"%{ord(each):02X}" for each in KEY),
    "anna%40example.org",
    "anna\\u0040example.org",
    "anna&commat;example&period;org",
    "anna [at] example (dot) org",
    "an\u00adna\uff20exa\u00admple.org",
    wide(CARD),
    "".join(chr(0x660 + int(each)) for each in CARD.replace(" ", "")),
    CARD.replace(" ", "\u2011"),
    CARD.replace(" ", "\u2013"),
    CARD.replace(" ", "\u2014"),
    CARD.replace(" ", "\u00a0"),
    CARD.replace(" ", "\u202f\u200b"),
    base64.b64encode(ADDRESS.encode()).decode(),
]


@pytest.mark.parametrize("said", WRITINGS)
def test_another_writing_is_read_and_its_place_known(said: str) -> None:
    text = f"It is {said}, you see."
    found = [
        other.place(each.start, each.end)
        for other in readings(text)
        for each in (*secrets(other.text), *PersonalData()(other.text))
    ]
    start = min(place for place, _ in found)
    end = max(place for _, place in found)
    assert 6 <= start <= 7
    assert 6 + len(said) - 1 <= end <= 6 + len(said)


@pytest.mark.parametrize(
    "text",
    [
        "It is 100% sure, at 10:30 (at the inn) on 2026-11-29. A B C: 1, 2, 3.",
        "Die größte Straße führt über die Brücke \u2014 nach München.",
        "这个食谱需要两勺盐\uff0c永远不要告诉任何人。",
        "“So it is”, he said, Donaudampfschifffahrtsgesellschaft and all.",
        "sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    ],
)
def test_ordinary_text_has_no_reading(text: str) -> None:
    assert not list(readings(text))


def test_each_character_of_a_form_has_its_place() -> None:
    form = plain_form("a\ufb01b\u200b%41\uff03")
    assert form
    assert form.text == "afibA#"
    assert [*form.starts] == [0, 1, 1, 2, 4, 7]
    assert [*form.ends] == [1, 2, 2, 3, 7, 8]


@pytest.mark.parametrize(
    "text", ["%4", "%41", "A ", "AB", "- ", "&#", "\\u00", "[at", "0a:", "AAAA\n", "\uff21", " ["]
)
def test_no_answer_takes_quadratic_time(text: str) -> None:
    said = text * (100_000 // len(text))
    began = time.thread_time()
    assert len(list(readings(said))) <= 3
    # Linear time is below a second; quadratic time is minutes.
    assert time.thread_time() - began < 40
