"""The cost of a classifier of answers, measured on answers that it never stops."""

from benchmarks.answers.classifier import measured
from inference.llm.messages import AnswerPart
from sealgate.trust.policy.answers import HOLD_TOKENS

TOKENS = 10 * HOLD_TOKENS
ANSWER = [
    AnswerPart((at,), f"word{at} ".encode(), "stop" if at == TOKENS else "")
    for at in range(1, TOKENS + 1)
]


def test_it_reads_each_time_half_of_what_is_held_has_come_and_finds_nothing() -> None:
    read: list[str] = []

    def finds_all(text: str) -> bool:
        read.append(text)
        return True

    cpu, wall, readings = measured(ANSWER, "sha256:" + "0" * 64, finds_all)
    assert min(cpu, wall) >= 0
    assert readings * TOKENS == len(read)
    assert abs(TOKENS / len(read) - HOLD_TOKENS / 2) < 2
    assert f"word{TOKENS}" in read[-1]
