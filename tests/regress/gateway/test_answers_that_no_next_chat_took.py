"""An answer's message has `refusal`, null as OpenAI's. Its client sends that back with the next
chat, which is how its documentation goes on with one, and every such chat was refused.
"""

import json

import pytest

from gateway.transport.http.chat import read_chat
from inference.remote.prompts import read_asked
from sealgate.reasons import Reason, Refusal

QUESTION = {"role": "user", "content": "Hello"}


def prompt(message: object) -> list[dict[str, str]]:
    document = {"model": "tiny", "messages": [QUESTION, message, QUESTION]}
    asked = read_asked(read_chat(json.dumps(document).encode()).request, lambda: 0)
    found: list[dict[str, str]] = json.loads(asked.prompt)
    return found


def test_what_is_null_in_a_message_is_not_said() -> None:
    answer = {"role": "assistant", "content": "Hi."}
    assert prompt({**answer, "refusal": None, "audio": None}) == [QUESTION, answer, QUESTION]


@pytest.mark.parametrize("more", [{"refusal": "No."}, {"content": None}, {"tool_calls": []}])
def test_all_else_is_refused_as_it_was(more: dict[str, object]) -> None:
    with pytest.raises(Refusal) as found:
        prompt({"role": "assistant", "content": "Hi.", **more})
    assert found.value.reason is Reason.CHAT_MALFORMED
