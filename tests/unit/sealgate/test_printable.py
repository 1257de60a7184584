"""Invisible characters of a text are escaped."""

import pytest

from sealgate.printable import printable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a model", "a model"),
        ("Grüße 日本語", "Grüße 日本語"),
        ("one\ntwo", "one\\ntwo"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\x1b[31m", "\\x1b[31m"),
        (17, "17"),
    ],
)
def test_what_cannot_be_seen_is_escaped(value: object, shown: str) -> None:
    assert printable(value) == shown


def test_characters_may_be_kept() -> None:
    assert printable("one\ntwo\r", keep="\n") == "one\ntwo\\r"
