"""Run a harness in a process of its own, and read what libFuzzer says of the run."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.harness import Harness, pack, unpack

BUILD = Path(__file__).parents[2] / "build" / "fuzz"
_DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)
_EXECUTED = re.compile(r"^#(\d+)\s", re.MULTILINE)
_FINDING = re.compile(r"Test unit written to (\S+)")
_COVERED = re.compile(r"\bcov: (\d+)")
# An input may take this long and this much memory.
_INPUT_SECONDS, _INPUT_MB = 25, 2048


@dataclass(frozen=True, slots=True)
class Run:
    """The result of fuzzing one target; `crashes` are the files of inputs that it failed on."""

    target: str
    executions: int
    seconds: int
    edges: int
    crashes: tuple[str, ...]
    output: str

    def line(self) -> str:
        outcome = f"CRASH {', '.join(self.crashes)}" if self.crashes else "no crash"
        return (
            f"{self.target:18} {self.executions:10,} executions in {self.seconds:5} s, "
            f"{self.edges:5} edges, {outcome}"
        )

    def to_json(self) -> dict[str, Any]:
        said = asdict(self)
        del said["output"]
        return {**said, "crashes": len(self.crashes)}


def fuzz(harness: Harness, *, seconds: int, runs: int | None = None, seed: int = 1) -> Run:
    """Fuzz for so many seconds (0: no limit) and runs at most, from the committed corpus and what
    was found since.
    """
    output, code = _child(harness, *_options(harness, seconds, runs, seed))
    return _read(harness, output, code)


def fuzz_each(
    harnesses: Iterable[Harness], *, seconds: int, runs: int, seed: int = 1
) -> dict[str, Run]:
    """Fuzz each of several harnesses of one module like that, by what one process has imported."""
    given = {each.name: each for each in harnesses}
    (module,) = {each.parse.__module__ for each in given.values()}
    targets = {
        name: [str(BUILD / name / "output"), *_options(each, seconds, runs, seed)]
        for name, each in given.items()
    }
    command = [sys.executable, "-m", "tests.fuzz.child", module, "--each", json.dumps(targets)]
    done = subprocess.run(command, capture_output=True, cwd=BUILD.parents[1], check=True)
    codes: dict[str, int] = json.loads(done.stdout)
    return {
        name: _read(each, (BUILD / name / "output").read_text(errors="replace"), codes[name])
        for name, each in given.items()
    }


def _options(harness: Harness, seconds: int, runs: int | None, seed: int) -> list[str]:
    """libFuzzer's, with the corpus on disk."""
    folder = BUILD / harness.name
    found = folder / "corpus"
    found.mkdir(parents=True, exist_ok=True)
    unpack(harness.corpus(), folder / "committed")
    return [
        f"-max_total_time={seconds}",
        f"-runs={runs or -1}",
        f"-seed={seed}",
        f"-max_len={harness.longest}",
        f"-timeout={_INPUT_SECONDS}",
        f"-report_slow_units={_INPUT_SECONDS}",
        f"-rss_limit_mb={_INPUT_MB}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=0",
        str(found),
        str(folder / "committed"),
    ]


def _read(harness: Harness, output: str, code: int) -> Run:
    """Read the result from libFuzzer's output."""
    crashes = tuple(sorted(set(_FINDING.findall(output))))
    done = _DONE.search(output)
    if code and not crashes:
        crashes = ("the fuzzer did not run",)
    executed = [int(number) for number in _EXECUTED.findall(output)]
    covered = [int(number) for number in _COVERED.findall(output)]
    return Run(
        harness.name,
        int(done[1]) if done else max(executed, default=0),
        int(done[2]) if done else 0,
        max(covered, default=0),
        crashes,
        output,
    )


def keep_corpus(harness: Harness) -> int:
    """Commit what covers most with least: libFuzzer's merge of old and new; return how many."""
    folder = BUILD / harness.name
    merged = folder / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    length = f"-max_len={harness.longest}"
    _child(
        harness, "-merge=1", length, str(merged), str(folder / "committed"), str(folder / "corpus")
    )
    return pack(merged, harness.name)


def _child(harness: Harness, *options: str) -> tuple[str, int]:
    """libFuzzer starts itself again to merge, by its first argument, so that is a program."""
    program = BUILD / harness.name / "run"
    module = harness.parse.__module__
    command = shlex.join([sys.executable, "-m", "tests.fuzz.child", module, harness.name])
    program.write_text(f'#!/bin/sh\nexec {command} "$0" "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        [str(program), *options],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=BUILD.parents[1],
        check=False,
    )
    return done.stdout + done.stderr, done.returncode
