"""How the demo's chats read what curl prints: answers, refusals, streams, and what is neither."""

import json
from pathlib import Path

import pytest

from demo.llm import chats
from demo.llm.stage import GeneratorStage
from demo.stage import StepFailed
from inference.llm.answers.recognizers import secrets

CHUNK = {"choices": [{"delta": {"content": "Yes."}}]}
ERROR = {"error": {"code": "PROMPT_INJECTION", "receipt": "of the refusal"}}


class CannedStage(GeneratorStage):
    """A gateway answers whatever `said` is."""

    def __init__(self, state: Path, said: str) -> None:
        super().__init__(state)
        (state / "said").write_text(said)

    def curl(self, path: str, options: str = "") -> list[str]:
        return ["cat", str(self.state / "said")]


def test_an_answer_leaves_its_receipt_and_what_was_asked(tmp_path: Path) -> None:
    message = {"message": {"content": "Yes."}}
    said = json.dumps({"choices": [message], "sealgate": {"receipt": "of the answer"}})
    asked = chats.ask(CannedStage(tmp_path, said), "one", chats.about_key(), 8)
    assert (asked.text, asked.refused) == ("Yes.", "")
    assert asked.receipt.read_text() == "of the answer"
    assert json.loads(asked.messages.read_bytes()) == chats.about_key()
    body = json.loads((tmp_path / "one.json").read_bytes())
    assert (body["max_tokens"], body["sealgate"]) == (8, {"receipt": True})


def test_a_refusal_has_its_reason_and_its_receipt(tmp_path: Path) -> None:
    stage = CannedStage(tmp_path, json.dumps(ERROR))
    asked = chats.ask(stage, "one", chats.question("?"), 8)
    assert (asked.text, asked.refused) == ("", "PROMPT_INJECTION")
    assert asked.receipt.read_text() == "of the refusal"


@pytest.mark.parametrize("said", ["", "curl: (7) Failed to connect"])
def test_what_is_no_document_ends_the_step(tmp_path: Path, said: str) -> None:
    with pytest.raises(StepFailed, match="curl: "):
        chats.ask(CannedStage(tmp_path, said), "one", chats.question("?"), 8)


def test_a_stream_is_printed_as_it_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "".join(f"data: {each}\n\n" for each in (*[json.dumps(CHUNK)] * 3, "[DONE]"))
    answer = chats.ask_streamed(CannedStage(tmp_path, said), "one", chats.question("?"), 8)
    assert (answer.parts, answer.refused) == (3, "")
    assert capsys.readouterr().out.startswith("Yes.Yes.Yes.")


def test_a_stream_that_is_refused_says_why(tmp_path: Path) -> None:
    stage = CannedStage(tmp_path, json.dumps(ERROR))
    answer = chats.ask_streamed(stage, "one", chats.question("?"), 8)
    assert (answer.parts, answer.refused) == (0, "PROMPT_INJECTION")


def test_the_document_differs_by_its_injection_alone() -> None:
    clean, injected = chats.summary("minutes"), chats.summary(f"minutes {chats.INJECTION}")
    assert clean[:-1] == injected[:-1]
    assert injected[-1]["content"] == f"{clean[-1]['content']} {chats.INJECTION}"


def test_the_key_is_found_in_an_answer() -> None:
    answer = f"The AWS access key ID of your archive is {chats.LEAKED}."
    (found,) = secrets(answer)
    assert answer[found.start : found.end] == chats.LEAKED
