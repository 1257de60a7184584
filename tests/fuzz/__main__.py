"""Fuzz the parsers of bytes from outside, with atheris: `make fuzz TARGET=receipts SECONDS=60`.

    python -m tests.fuzz [TARGET ...] [--seconds N | --runs N] [--keep] [--results FILE]
    python -m tests.fuzz --coverage [TARGET ...]

Without a TARGET, all are fuzzed, one after the other. New inputs that reach new code are kept in
the committed corpus with `--keep`, after libFuzzer has left out those that add nothing. An input
that makes a parser raise what it should not, take 25 seconds or two gigabytes ends the run: it is
in build/fuzz/TARGET, and `python -m tests.fuzz TARGET --input FILE` runs it again.
"""

import argparse
import json
import sys
from pathlib import Path

from tests.fuzz.coverage import line_coverage
from tests.fuzz.runs import Run, fuzz, keep_corpus


def main() -> int:
    options = _options()
    from tests.fuzz.harnesses import HARNESSES

    targets = options.targets or list(HARNESSES)
    if unknown := set(targets) - HARNESSES.keys():
        print(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(HARNESSES)}")
        return 2
    if options.input:
        HARNESSES[targets[0]].run(options.input.read_bytes())
        return 0
    if options.coverage:
        for name in targets:
            for module, (hit, lines) in line_coverage(HARNESSES[name]).items():
                print(f"{name:18} {module:40} {hit:4} of {lines:4} lines  {hit / lines:5.0%}")
        return 0
    return _fuzz(targets, options)


def _fuzz(targets: list[str], options: argparse.Namespace) -> int:
    from tests.fuzz.harnesses import HARNESSES

    found: list[Run] = []
    seconds = 0 if options.runs else options.seconds
    for name in targets:
        run = fuzz(HARNESSES[name], seconds=seconds, runs=options.runs, seed=options.seed)
        print(run.line(), flush=True)
        found.append(run)
        if options.keep and not run.crashes:
            print(f"{name:18} {keep_corpus(HARNESSES[name])} inputs kept", flush=True)
    if options.results:
        options.results.write_text(json.dumps([run.to_json() for run in found], indent=1) + "\n")
    return 1 if any(run.crashes for run in found) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--runs", type=int, help="executions of each target, in place of seconds")
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzer's choices (1)")
    parser.add_argument("--keep", action="store_true", help="add what is new to the corpus")
    parser.add_argument("--coverage", action="store_true", help="print what the corpus covers")
    parser.add_argument("--results", type=Path, help="write the figures as JSON")
    parser.add_argument("--input", type=Path, help="run one input through the target")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
