"""Harmless texts, for a guard to learn from, and those that its benchmark keeps for itself."""

import json
from pathlib import Path

import pytest

from demo import harmless
from demo.harmless import documents, mails, whole_mails


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


def test_a_whole_mail_is_longer(folder: Path) -> None:
    (whole, *_), (first, *_) = list(whole_mails(folder)), list(mails(folder))
    assert whole.startswith(first)
    assert len(whole) > 1000


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With packages of which one says much; and Python's manual has no topics."""
    monkeypatch.setattr(harmless, "topics", {})
    for name, letters in (("long", 10_000), ("middle", 3700), ("short", 100)):
        folder = tmp_path / "site" / f"{name}-1.dist-info"
        folder.mkdir(parents=True)
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n\n"
        (folder / "METADATA").write_text(head + letters * name[0])
    return tmp_path / "site"


def test_documents_are_long_pieces_of_what_packages_say(site: Path) -> None:
    pieces = 3 * [3000 * "l"] + [3000 * "m", 700 * "m"]
    assert list(documents(site, site / "none")) == pieces


def test_documents_are_of_the_manual_and_of_long_docstrings_too(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harmless, "topics", {"b": 700 * "b", "a": 700 * "a", "c": "short"})
    library = tmp_path / "library"
    for name, text in {
        "one.py": f'def f():\n    """{700 * "f"}"""\n',
        "two/three.py": f'"""{700 * "t"}"""\n',
        "test/four.py": f'"""{700 * "x"}"""\n',
        "broken.py": "def",
    }.items():
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text(text)
    said = [text[0] for text in documents(tmp_path / "nothing", library)]
    assert said == ["a", "b", "f", "t"]
