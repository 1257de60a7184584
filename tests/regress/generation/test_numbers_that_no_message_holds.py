"""A server of OpenAI's protocol could tell of any number of tokens for a prompt. One that no
message holds had the answer recorded as answered, and then be none; and where the counts of quotas
are kept in a database, it was no number there either, so that everybody was refused for a second.
"""

import pytest

from inference.generation import Sampling
from inference.openai.generator import _pieces
from sealgate.reasons import Reason, Refusal


@pytest.mark.parametrize("number", [101, 1 << 63, 10**30])
def test_they_are_refused(number: int) -> None:
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": number, "completion_tokens": 1}
    with pytest.raises(Refusal) as found:
        list(_pieces(iter([{"choices": [choice], "usage": usage}]), Sampling(4), 100))
    assert found.value.reason is Reason.PROMPT_TOO_LONG
