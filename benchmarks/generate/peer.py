"""llama.cpp, in a process of its own on one core."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.generate.alone import TOKENS
from benchmarks.generate.served import Run, Way
from benchmarks.processes import pinned
from benchmarks.served import ENVIRONMENTS, missing

ENVIRONMENT = "llama"
_PROGRAMS = Path(__file__).parents[1] / "peers"
_ANSWERS = _PROGRAMS / "llama_answers.py"


def why_missing() -> str | None:
    """Why llama.cpp cannot be measured here, if it cannot."""
    return missing(ENVIRONMENT)


def write_gguf(folder: Path, file: Path) -> None:
    """The model in `folder` as a GGUF file in Q8_0."""
    command = [_python(), str(_PROGRAMS / "llama_gguf.py"), str(folder), str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def llama(
    file: Path,
    cut: Callable[[str], Sequence[int]],
    ends: Sequence[int],
    core: int,
    program: Path = _ANSWERS,
) -> Iterator[Way]:
    """The way to ask it. `cut` says the ids of a prompt, `ends` those that end an answer; `program`
    runs on `core`, in its environment, or in ours where there is none.
    """
    command = [_python(), str(program), str(file)]
    with pinned({core}):
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    with process:
        try:
            yield partial(_ask, process, cut, ends)
        finally:
            process.kill()


def _ask(
    process: subprocess.Popen[str],
    cut: Callable[[str], Sequence[int]],
    ends: Sequence[int],
    streams: int,
    prompts: Sequence[str],
) -> Run:
    ids = [list(cut(prompt)) for prompt in prompts]
    wish = {"streams": streams, "tokens": TOKENS, "ends": list(ends), "prompts": ids}
    if process.stdin is None or process.stdout is None:
        raise SystemExit("llama.cpp has no pipes")
    process.stdin.write(json.dumps(wish) + "\n")
    process.stdin.flush()
    told = json.loads(process.stdout.readline())
    answers = tuple(map(tuple, told["ids"]))
    return Run(sum(map(len, answers)) / told["seconds"], tuple(told["first"]), ids=answers)


def _python() -> str:
    python = ENVIRONMENTS / ENVIRONMENT / "bin" / "python"
    return str(python.absolute()) if python.exists() else sys.executable
