"""Harmless texts, for a guard to learn from, and those that its benchmark keeps for itself."""

import json
from pathlib import Path

import pytest

from demo import harmless
from demo.harmless import mails, pages, talk


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three letters of each kind."""
    monkeypatch.setattr(harmless, "HELD_OUT", 1)
    for kind in ("easy-ham-1", "spam-2"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            text = f"Subject: {kind} {number}\n\n<b>Hello</b>" + 1000 * "!"
            (tmp_path / kind / f"{number}.json").write_text(json.dumps({"text": text}))
    return tmp_path


def test_the_first_mails_of_each_kind_are_held_out(folder: Path) -> None:
    first = [text.split("\n")[0] for text in mails(folder, held_out=True)]
    others = [text.split("\n")[0] for text in mails(folder)]
    assert first == ["easy-ham-1 0", "spam-2 0"]
    assert others == ["easy-ham-1 1", "easy-ham-1 2", "spam-2 1", "spam-2 2"]


def test_a_mail_is_its_subject_and_how_it_begins(folder: Path) -> None:
    text = next(mails(folder))
    assert text.startswith("easy-ham-1 1\n Hello !")
    assert len(text) == 600


def test_pages_are_parts_of_what_packages_say_of_themselves(tmp_path: Path) -> None:
    for name, letters in (("long", 5000), ("short", 100)):
        (tmp_path / f"{name}-1.dist-info").mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n\n"
        (tmp_path / f"{name}-1.dist-info" / "METADATA").write_text(head + letters * name[0])
    assert list(pages(tmp_path)) == 5 * [600 * "l"]


def test_talk_of_instructions_is_the_same_each_time() -> None:
    said = list(talk(50))
    assert said == list(talk(50))
    assert len(set(said)) > 40
    assert all(text[0].isupper() for text in said)
