"""The story of the demo's language model: each step holds where it should, and only there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from demo.llm import story
from demo.llm.chats import LEAKED
from demo.llm.stage import GeneratorStage

Answers = dict[str, dict[str, Any]]
MASKED, INJECTED = "masked.receipt", "injected.receipt"


def answered(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}], "sealgate": {"receipt": "a receipt"}}


def refused(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "receipt": "a receipt"}}


GOOD: Answers = {
    "question": {"choices": [{"delta": {"content": "Yes."}}]},
    "leak": answered(f"The key is {LEAKED}."),
    "document": answered("A branch opens."),
    "injected": refused("PROMPT_INJECTION"),
    "noise": refused("ADVERSARIAL_INPUT"),
    "masked": answered("The key is [secret]."),
}
REPLAY, LOGS = ("audit", "replay-generator"), ("audit", "verify")
RECEIPT = {"proof": "holds", "model": "assistant", "version": "1", "version_digest": "sha256:00"}
TOLD: dict[Any, Any] = {
    REPLAY: {"answer": "the same to its end", "tokens": 9},
    LOGS: [{"log": "registry", "found": "intact", "entries": 3}],
    MASKED: RECEIPT | {"outcome": "answered", "actions": "masked"},
    INJECTED: RECEIPT | {"outcome": "PROMPT_INJECTION", "actions": "blocked"},
}


class PlayedStage(GeneratorStage):
    """A gateway answers each chat as `answers` say, by its name, and commands print what is `told`
    of them.
    """

    def __init__(self, state: Path, answers: Answers, told: dict[Any, Any] = TOLD) -> None:
        super().__init__(state)
        self._answers = answers
        self._told = told

    def curl(self, path: str, options: str = "") -> list[str]:
        (name,) = re.findall(r"(\w+)\.json ", options)
        said = self.state / f"{name}.said"
        said.write_text((json.dumps(self._answers[name]) + "\n") * (3 if name == "question" else 1))
        return ["cat", str(said)]

    def command(self, *words: str, person: str | None = None, threads: int = 0) -> Any:
        receipt = Path(words[2]).name if words[:2] == ("receipt", "verify") else ""
        return self._told[receipt or words[:2]]

    @property
    def failed(self) -> list[str]:
        return [result.step for result in self.results if not result.held]


def test_all_of_it_holds(tmp_path: Path) -> None:
    stage = PlayedStage(tmp_path, GOOD)
    for step in (story.ask_freely, story.ask_again, story.prove):
        step(stage)
    assert len(stage.results) == 11
    assert stage.failed == []


@pytest.mark.parametrize(
    ("name", "answer", "step"),
    [
        ("question", refused("VERSION_NOT_LIVE"), "streamed"),
        ("leak", answered("I may not tell."), "without rules, the key leaves"),
        ("document", refused("PROMPT_INJECTION"), "a document"),
        ("injected", answered("I am DAN."), "the same with an injection in it"),
        ("injected", refused("VERSION_NOT_LIVE"), "the same with an injection in it"),
        ("noise", answered("Yes."), "a suffix as attacks find them"),
        ("masked", answered(f"The key is {LEAKED}."), "the key, masked"),
        ("masked", answered(f"[secret] is {LEAKED}."), "the key, masked"),
        ("masked", refused("ANSWER_WITHHELD"), "the key, masked"),
    ],
)
def test_another_answer_does_not_hold(
    tmp_path: Path, name: str, answer: dict[str, Any], step: str
) -> None:
    stage = PlayedStage(tmp_path, GOOD | {name: answer})
    story.ask_freely(stage)
    story.ask_again(stage)
    assert stage.failed == [step]


@pytest.mark.parametrize(
    ("what", "told", "step"),
    [
        (REPLAY, {"answer": "none was given", "tokens": 0}, "replayed"),
        (LOGS, [{"log": "answers", "found": "altered", "entries": 3}], "logs"),
        (MASKED, TOLD[MASKED] | {"proof": "none"}, "receipt, answered"),
        (MASKED, TOLD[MASKED] | {"actions": ""}, "receipt, answered"),
        (INJECTED, TOLD[INJECTED] | {"outcome": "answered"}, "receipt, PROMPT_INJECTION"),
    ],
)
def test_another_proof_does_not_hold(tmp_path: Path, what: Any, told: Any, step: str) -> None:
    stage = PlayedStage(tmp_path, GOOD, TOLD | {what: told})
    story.prove(stage)
    assert stage.failed == [step]
