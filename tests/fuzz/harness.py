"""The description of a fuzz harness, and the form of its corpus.

A corpus is one text file, `corpus/NAME.txt`: an input a line, in base64, in order. libFuzzer wants
a folder with a file an input; `unpack` and `pack` turn one form into the other.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sealgate.reasons import SealgateError
from sealgate.trust import canonical

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Harness:
    """A parser under test.

    `parse` gets the fuzzer's bytes. It may raise `SealgateError` or what `refuses` names, nothing
    else, and asserts what must hold of input that it accepts. `seeds` are valid inputs; `modules`
    are those whose line coverage is reported.
    """

    name: str
    parse: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    modules: tuple[str, ...]
    refuses: tuple[type[Exception], ...] = ()
    longest: int = 4096

    def run(self, data: bytes) -> None:
        """Parse one input; whatever is raised here is a finding."""
        try:
            self.parse(data)
        except (SealgateError, *self.refuses):
            return

    def corpus(self) -> list[bytes]:
        """The committed inputs, then the seeds."""
        path = CORPUS / f"{self.name}.txt"
        lines = path.read_text().split() if path.exists() else []
        return [*map(base64.b64decode, lines), *self.seeds()]


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """Write each input into a file of its own, named by its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha256(data).hexdigest()[:32]).write_bytes(data)


def pack(folder: Path, name: str) -> int:
    """Write the inputs of a folder as the corpus `name`; return how many there are."""
    lines = sorted(base64.b64encode(path.read_bytes()).decode() for path in folder.iterdir())
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


def canonical_form(data: bytes) -> bytes:
    """JSON in its canonical form, which edits seldom keep; other bytes as they are."""
    try:
        return canonical.encode(json.loads(data))
    except (ValueError, RecursionError, SealgateError):
        return data


def chosen(data: bytes, count: int) -> tuple[int, bytes]:
    """Which of `count` parsers the first byte picks, and the rest of the input."""
    return (data[0] % count if data else 0), data[1:]
