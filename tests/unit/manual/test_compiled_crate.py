"""Our crate is compiled again in a new checkout only where its files have changed."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "make" / "compiled_crate.sh"


@pytest.fixture(name="front")
def _front(tmp_path: Path) -> Path:
    front = tmp_path / "front"
    (front / "src").mkdir(parents=True)
    (front / "src" / "lib.rs").write_text("fn main() {}")
    (front / "Cargo.toml").write_text("[package]")
    return front


def run(front: Path, *words: str) -> None:
    subprocess.run([SCRIPT, front, front.parent / "kept", *words], check=True)


def young(front: Path) -> bool:
    """Whether a file is younger than this century."""
    return any(path.stat().st_mtime > 1e9 for path in front.rglob("*.*") if path.is_file())


def test_nothing_is_known_at_first(front: Path) -> None:
    run(front)
    assert young(front)


def test_files_that_were_compiled_get_an_old_time(front: Path) -> None:
    run(front, "done")
    assert young(front)
    run(front)
    assert not young(front)


@pytest.mark.parametrize("name", ["src/lib.rs", "src/other.rs"])
def test_other_files_stay_young_and_end_the_note(front: Path, name: str) -> None:
    run(front, "done")
    (front / name).write_text("fn other() {}")
    run(front)
    assert young(front)
    (front / name).unlink()
    (front / "src" / "lib.rs").write_text("fn main() {}")
    run(front)
    assert young(front)


def test_what_cargo_writes_does_not_count(front: Path) -> None:
    run(front, "done")
    (front / "target").mkdir()
    (front / "target" / "made.rs").touch()
    (front / "Cargo.lock").touch()
    run(front)
    assert (front / "Cargo.toml").stat().st_mtime < 1e9
