"""The targets of each case of the drill."""

from dataclasses import replace

from benchmarks.drill import targets
from demo.drill.timing import CaseResult

WHOLE = CaseResult("full disk", "a full disk", "an alert", 60.0, "room", 60.0, "audit verify", 10.0)


def missed(item: CaseResult) -> list[str]:
    return [target.name for target in targets(item) if not target.met]


def test_a_case_may_take_a_minute_twice_and_ten_seconds() -> None:
    assert missed(WHOLE) == []
    assert missed(replace(WHOLE, detect=60.1)) == ["full disk: detected, s"]
    assert missed(replace(WHOLE, recover=60.1)) == ["full disk: rolled back or recovered, s"]
    assert missed(replace(WHOLE, explain=10.1)) == ["full disk: explained, s"]
    assert missed(replace(WHOLE, lost=1)) == ["full disk: answers lost"]


def test_what_never_happened_misses_its_target() -> None:
    assert len(missed(CaseResult("full disk", "a full disk"))) == 3
