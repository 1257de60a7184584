"""An auditor asks a language model again, by a receipt and what its caller kept."""

import json
from typing import Any

from sealgate.reasons import Reason
from tests.support.generated import PROMPT, asked, stream
from tests.support.generator_house import OUTPUT_TOKENS, GeneratorHouse
from tests.support.kitchen import until


def replay(house: GeneratorHouse, receipt: str | bytes, *words: str, prompt: str = PROMPT) -> Any:
    """What `audit replay-generator` finds, or the reason's name."""
    given, said = house.state / "again.json", house.state / "again.txt"
    given.write_bytes(receipt if isinstance(receipt, bytes) else receipt.encode())
    said.write_text(prompt)
    command = ("audit", "replay-generator", str(given), "--prompt", str(said), "--json")
    result = house.command(*command, *words)
    if result.exit_code:
        return result.stderr.removeprefix("Error: ").partition(":")[0]
    return json.loads(result.stdout)


def test_an_auditor_asks_again_by_the_receipt_and_the_seed_that_was_told(
    house: GeneratorHouse,
) -> None:
    drawn = {"max_tokens": 8, "temperature": 0.7, "top_p": 0.9}
    found = [one.infer_response for one in stream(house, asked(receipt=True, **drawn))]
    seeds = [one.parameters["seed"].int64_param for one in (found[0], found[-1])]
    assert seeds[0] == seeds[1] > 0
    receipt = found[-1].parameters["receipt"].string_param
    words = ("--max-tokens", "8", "--temperature", "0.7", "--top-p", "0.9", "--seed")
    again = replay(house, receipt, *words, str(seeds[0]))
    told = {"answer": "the same to its end", "outcome": "answered", "tokens": len(found)}
    assert told.items() <= again.items()
    assert replay(house, receipt, *words, "1") == Reason.RECEIPT_MISMATCH.name
    other = replay(house, receipt, *words, str(seeds[0]), prompt="Another")
    assert other == Reason.RECEIPT_MISMATCH.name


def test_what_came_of_an_answer_that_was_cut_comes_again(house: GeneratorHouse) -> None:
    messages, before = [{"role": "user", "content": PROMPT}], house.gateway.recorder.size
    request = asked(json.dumps(messages), name="messages", max_tokens=OUTPUT_TOKENS)
    call = house.inference().ModelStreamInfer(iter([request]))
    with house.paused_after(lambda: next(call)):
        call.cancel()
        until(lambda: house.gateway.recorder.size == before + 2)
    opened, cut = (house.gateway.recorder.open(before + at).encode() for at in range(2))
    words = ("--chat", "--max-tokens", str(OUTPUT_TOKENS))
    again = replay(house, cut, *words, prompt=json.dumps(messages))
    assert (again["outcome"], again["answer"]) == ("cut", "the same as far as it came")
    assert 1 <= again["tokens"] < OUTPUT_TOKENS
    assert replay(house, opened, *words, prompt=json.dumps(messages))["answer"] == "none was given"
