"""Each parser of bytes from outside: its corpus, and up to 10,000 inputs that a fuzzer makes.

The fuzzer's seed is fixed, so that a run meets the same inputs as the one before, unless a second
ends it sooner. A finding is in build/fuzz/TARGET; `tests/fuzz/__main__.py` says how to run
it again.
"""

from functools import cache

import pytest

from tests.fuzz.harness import CORPUS, Harness
from tests.fuzz.harnesses import HARNESSES
from tests.fuzz.planted import HARNESSES as PLANTED
from tests.fuzz.runs import Run, fuzz, fuzz_each

# Most parsers read so many within a second. New inputs are looked for each week, by a workflow that
# goes on for a minute.
_EXECUTIONS, _SECONDS = 10_000, 1
# Where executions alone count.
_ENDLESS = 0
_TARGETS = pytest.mark.parametrize("harness", HARNESSES.values(), ids=list(HARNESSES))


@_TARGETS
def test_the_committed_inputs_are_parsed_or_refused(harness: Harness) -> None:
    assert (CORPUS / f"{harness.name}.txt").exists(), "make fuzz KEEP=1 writes it"
    for data in harness.corpus():
        harness.run(data)


@_TARGETS
def test_some_seeds_are_accepted(harness: Harness) -> None:
    """Else the fuzzer would only meet the first check."""
    accepted = 0
    for data in harness.seeds():
        try:
            harness.parse(data)
        except Exception:  # noqa: S112 - refused, or a finding of the test above
            continue
        accepted += 1
    assert accepted


@cache
def _runs(module: str) -> dict[str, Run]:
    """Of the targets of a module."""
    targets = (each for each in HARNESSES.values() if each.parse.__module__ == module)
    return fuzz_each(targets, seconds=_SECONDS, runs=_EXECUTIONS)


@_TARGETS
def test_fuzzing_finds_nothing(harness: Harness) -> None:
    run = _runs(harness.parse.__module__)[harness.name]
    assert not run.crashes, run.output[-4000:]
    assert run.executions >= _EXECUTIONS or run.seconds >= _SECONDS, run.output[-4000:]


def test_so_many_executions_find_a_planted_defect() -> None:
    run = fuzz(PLANTED[0], seconds=_ENDLESS, runs=_EXECUTIONS)
    assert len(run.crashes) == 1, run.output[-4000:]


def test_a_defect_is_found_in_a_process_that_several_share() -> None:
    runs = fuzz_each(PLANTED, seconds=_ENDLESS, runs=_EXECUTIONS)
    assert [len(run.crashes) for run in runs.values()] == [1] * len(PLANTED)
