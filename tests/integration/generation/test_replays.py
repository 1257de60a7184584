"""An auditor asks a language model again, by a receipt and what its caller kept."""

import json
from typing import Any

import pytest

from sealgate.reasons import Reason
from tests.support.builders.generated import PROMPT, asked, stream
from tests.support.fakes.blocking_worker import until
from tests.support.harness.generator import OUTPUT_TOKENS, GeneratorHarness

pytestmark = pytest.mark.slow


def replay(
    harness: GeneratorHarness, receipt: str | bytes, *words: str, prompt: str = PROMPT
) -> Any:
    """The findings of `audit replay-generator`, or the reason's name."""
    given, said = harness.state / "again.json", harness.state / "again.txt"
    given.write_bytes(receipt if isinstance(receipt, bytes) else receipt.encode())
    said.write_text(prompt)
    command = ("audit", "replay-generator", str(given), "--prompt", str(said), "--json")
    result = harness.command(*command, *words)
    if result.exit_code:
        return result.stderr.removeprefix("Error: ").partition(":")[0]
    return json.loads(result.stdout)


def test_an_auditor_asks_again_by_the_receipt_and_the_seed_that_was_told(
    harness: GeneratorHarness,
) -> None:
    drawn = {"max_tokens": 8, "temperature": 0.7, "top_p": 0.9}
    found = [one.infer_response for one in stream(harness, asked(receipt=True, **drawn))]
    seeds = [one.parameters["seed"].int64_param for one in (found[0], found[-1])]
    assert seeds[0] == seeds[1] > 0
    receipt = found[-1].parameters["receipt"].string_param
    words = ("--max-tokens", "8", "--temperature", "0.7", "--top-p", "0.9", "--seed")
    again = replay(harness, receipt, *words, str(seeds[0]))
    told = {"answer": "the same to its end", "outcome": "answered", "tokens": len(found)}
    assert told.items() <= again.items()
    assert replay(harness, receipt, *words, "1") == Reason.RECEIPT_MISMATCH.name
    other = replay(harness, receipt, *words, str(seeds[0]), prompt="Another")
    assert other == Reason.RECEIPT_MISMATCH.name


def test_what_came_of_an_answer_that_was_cut_comes_again(harness: GeneratorHarness) -> None:
    messages, before = [{"role": "user", "content": PROMPT}], harness.gateway.recorder.size
    request = asked(json.dumps(messages), name="messages", max_tokens=OUTPUT_TOKENS)
    call = harness.inference().ModelStreamInfer(iter([request]))
    with harness.paused_after(lambda: next(call)):
        call.cancel()
        until(lambda: harness.gateway.recorder.size == before + 2)
    opened, cut = (harness.gateway.recorder.open(before + at).encode() for at in range(2))
    words = ("--chat", "--max-tokens", str(OUTPUT_TOKENS))
    again = replay(harness, cut, *words, prompt=json.dumps(messages))
    assert (again["outcome"], again["answer"]) == ("cut", "the same as far as it came")
    assert 1 <= again["tokens"] < OUTPUT_TOKENS
    assert (
        replay(harness, opened, *words, prompt=json.dumps(messages))["answer"] == "none was given"
    )
