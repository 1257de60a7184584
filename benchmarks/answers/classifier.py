"""The cost of a classifier of answers: the demo's, published and live as the policy asks for one.

It was trained to read prompts, which a cost does not depend on. Answers go on whatever it finds.
The costs are those of the whole process for each token: the windows, the engine's batch and the
classifier's own screening.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.guard.published import published
from benchmarks.report import Row
from inference.llm.answers import AnswerScreen
from inference.llm.messages import AnswerPart
from sealgate.trust.policy import Consequence
from sealgate.trust.policy.answers import HOLD_TOKENS, AnswerClassifierRules, AnswerRules
from training.run.finishing import FinishedRun

_DEMO = Path(__file__).parents[2] / "demo"
_MODEL, _LABEL = "prompt-guard", "injection"
_UNUSED = 2
Answer = Sequence[AnswerPart]


def classifier_costs(answers: Iterable[Answer]) -> Row:
    """CPU and wall milliseconds of each token of such answers, which a live classifier reads; the
    first ones are not counted.
    """
    run = FinishedRun(_DEMO / "models" / _MODEL, _DEMO / "data" / f"{_MODEL}.safetensors", {})
    with published(run, _MODEL, _LABEL) as guard:
        told = [measured(answer, guard.digest, guard.reads_answers()) for answer in answers]
    cpu, wall, readings = np.array(told[_UNUSED:]).T
    return {
        "kind": "costs of a classifier",
        "ms_a_token_p50": float(np.median(cpu)),
        "ms_a_token_p90": float(np.percentile(cpu, 90)),
        "wall_ms_a_token_p90": float(np.percentile(wall, 90)),
        "tokens_a_reading": float(1 / np.mean(readings)),
    }


def measured(
    answer: Answer, digest: str, reads: Callable[[str], bool]
) -> tuple[float, float, float]:
    """Of one answer that the classifier of that digest reads: CPU and wall milliseconds of a token,
    and how often a token was read.
    """
    rules = AnswerRules(
        {}, HOLD_TOKENS, (), AnswerClassifierRules(digest, _LABEL, Consequence.FLAG)
    )
    asked = 0

    def goes_on(text: str) -> bool:
        nonlocal asked
        asked += 1
        reads(text)
        return False

    began = time.process_time(), time.perf_counter()
    for _ in AnswerScreen(rules, [], goes_on).over(answer):
        pass
    ended = time.process_time(), time.perf_counter()
    cpu, wall = (1e3 * (end - start) / len(answer) for start, end in zip(began, ended, strict=True))
    return cpu, wall, asked / len(answer)
