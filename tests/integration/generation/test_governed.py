"""A language model behind the gateway: streamed, screened, recorded, and moved while it answers."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.recorder import Recorder
from generation.decoder import Decoder
from inference.generation import Asked, Sampling, answer_digest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal
from sealgate.tensors import Tensor, read_outputs, write_inputs
from sealgate.trust.receipt import Receipt, verify_receipt
from tests.support import tiny_decoder
from tests.support.generator_house import OUTPUT_TOKENS, GeneratorHouse, generating
from tests.support.house import refusal
from tests.support.kitchen import until
from tests.support.oracles import python_with, run

PROMPT = "The following identifiers are used as reserved words"
_KINDS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[GeneratorHouse]:
    with generating(tmp_path_factory.mktemp("state"), folder) as house:
        yield house


def asked(
    prompt: str | bytes = PROMPT, model: str = "tiny", name: str = "text_input", **parameters: Any
) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name=model, id="7")
    for key, value in parameters.items():
        setattr(request.parameters[key], _KINDS[type(value)], value)
    array = np.empty(1, object)
    array[0] = prompt if isinstance(prompt, bytes) else prompt.encode()
    write_inputs(request, [Tensor.of(name, array)])
    return request


def stream(house: GeneratorHouse, *requests: oip.ModelInferRequest) -> list[Any]:
    return list(house.inference().ModelStreamInfer(iter(requests), timeout=60))


def text_of(response: oip.ModelInferResponse) -> str:
    return read_outputs(response)["text_output"].data.item().decode()


def ids_of(response: oip.ModelInferResponse) -> list[int]:
    return read_outputs(response)["token_ids"].data.tolist()


def is_last(response: oip.ModelInferResponse) -> bool:
    return response.parameters["triton_final_response"].bool_param


def greedy(decoder: Decoder, prompt: str, tokens: int) -> list[int]:
    """As plain `generate` gives them."""
    ids = decoder.prompt_ids(Asked(prompt.encode(), False, Sampling(1)), 200)
    return decoder.greedy(ids, tokens)


def refused(house: GeneratorHouse, request: oip.ModelInferRequest) -> str:
    """The reason's name, and that it is recorded and the stream goes on."""
    before = house.gateway.recorder.size
    found = stream(house, request, asked(max_tokens=1))
    assert [bool(message.error_message) for message in found] == [True, False]
    assert (found[0].infer_response.id, is_last(found[0].infer_response)) == ("7", True)
    reason = found[0].error_message.partition(":")[0]
    assert house.entries(before)[0]["outcome"] == reason
    return reason


def test_tokens_come_one_by_one_and_are_generates(house: GeneratorHouse, decoder: Decoder) -> None:
    found = [message.infer_response for message in stream(house, asked(max_tokens=12))]
    assert [is_last(one) for one in found] == [False] * (len(found) - 1) + [True]
    assert all(len(ids_of(one)) == 1 for one in found)
    ids = [token for one in found for token in ids_of(one)]
    assert ids == greedy(decoder, PROMPT, 12)
    text = "".join(map(text_of, found))
    assert text == decoder.tokenizer.decode(ids, skip_special_tokens=True)
    last = found[-1]
    assert (last.model_version, last.id) == ("1", "7")
    assert last.parameters["completion_tokens"].int64_param == len(ids)
    assert last.parameters["finish_reason"].string_param in ("stop", "length")


def test_one_answer_in_whole(house: GeneratorHouse, decoder: Decoder) -> None:
    whole = house.inference().ModelInfer(asked(max_tokens=12))
    (streamed,) = stream(house, asked(max_tokens=12, stream=False))
    expected = greedy(decoder, PROMPT, 12)
    assert ids_of(whole) == ids_of(streamed.infer_response) == expected
    assert text_of(whole) == decoder.tokenizer.decode(expected, skip_special_tokens=True)


def test_the_same_seed_gives_the_same_answer(house: GeneratorHouse) -> None:
    def drawn(seed: int) -> list[int]:
        sampling = {"max_tokens": 16, "temperature": 1.0, "top_p": 0.9, "seed": seed}
        return ids_of(house.inference().ModelInfer(asked(**sampling)))

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_a_chat_is_answered(house: GeneratorHouse) -> None:
    messages = json.dumps([{"role": "user", "content": PROMPT}])
    answer = house.inference().ModelInfer(asked(messages, name="messages", max_tokens=4))
    assert len(ids_of(answer)) == 4


def test_a_stop_ends_the_answer(house: GeneratorHouse) -> None:
    text = text_of(house.inference().ModelInfer(asked(max_tokens=40)))
    stop = text[8:12]
    answer = house.inference().ModelInfer(asked(max_tokens=40, stop=json.dumps([stop])))
    assert text_of(answer) == text[: text.index(stop)]
    assert answer.parameters["finish_reason"].string_param == "stop"


def test_receipts_bind_prompt_sampling_tokens_and_text(
    house: GeneratorHouse, decoder: Decoder
) -> None:
    sampling = {"max_tokens": 8, "temperature": 0.7, "top_p": 0.9, "seed": 4}
    found = [one.infer_response for one in stream(house, asked(receipt=True, **sampling))]
    policy = house.governance("client").policy()
    opening, closing = (
        verify_receipt(Receipt.decode(one.parameters[name].string_param.encode()), policy).fields
        for one, name in ((found[0], "opening_receipt"), (found[-1], "receipt"))
    )
    prompt = PROMPT.encode()
    drawn = Asked(prompt, False, Sampling(8, 0.7, 0.9, (), 4))
    assert (opening["outcome"], closing["outcome"]) == ("opened", "answered")
    assert opening["input"] == closing["input"] == drawn.digest
    assert (opening["time"], opening["output"]) == (closing["time"], "")
    ids = [token for one in found for token in ids_of(one)]
    text = "".join(map(text_of, found)).encode()
    cut = decoder.prompt_ids(drawn, 200)
    assert closing["output"] == answer_digest(cut, ids, text)
    assert (closing["verdict"], closing["version"]) == ("clean", "1")
    assert closing["version_digest"].startswith("sha256:")
    assert "score" not in closing


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": b"\xff\xfe"}, Reason.TENSOR_TEXT),
        ({"prompt": "word " * 400}, Reason.PROMPT_TOO_LONG),
        ({"max_tokens": 0}, Reason.PARAMETER_MALFORMED),
        ({"max_tokens": OUTPUT_TOKENS + 1}, Reason.PARAMETER_MALFORMED),
        ({"temperature": "hot"}, Reason.PARAMETER_MALFORMED),
        ({"stop": json.dumps(["x"] * 9)}, Reason.PARAMETER_MALFORMED),
        ({"unknown": True}, Reason.PARAMETER_MALFORMED),
        ({"prompt": "no JSON", "name": "messages"}, Reason.CHAT_MALFORMED),
        ({"name": "x"}, Reason.TENSOR_NAME),
        ({"model": "nobody"}, Reason.MODEL_UNKNOWN),
        ({"model": "Not a name"}, Reason.NAME_MALFORMED),
        ({"alias": "shadow"}, Reason.ALIAS_UNKNOWN),
    ],
)
def test_what_is_refused(house: GeneratorHouse, change: dict[str, Any], reason: Reason) -> None:
    assert refused(house, asked(**change)) == reason.name


def test_a_refusal_of_a_whole_answer_is_a_status(house: GeneratorHouse) -> None:
    ask = house.inference().ModelInfer
    assert refusal(ask, asked(b"\xff")) is Reason.TENSOR_TEXT
    assert refusal(ask, asked(max_tokens=0)) is Reason.PARAMETER_MALFORMED


def test_a_prompt_that_is_no_language_is_refused(house: GeneratorHouse) -> None:
    letters = random.Random(1)  # noqa: S311
    noise = "".join(letters.choice("qzxjkvw#@%&~^") for _ in range(40))
    before = house.gateway.recorder.size
    assert refused(house, asked(f"{PROMPT} {noise}")) == Reason.ADVERSARIAL_INPUT.name
    entry = house.entries(before)[0]
    assert entry["verdict"] == "adversarial"
    assert float(entry["score"]) > float(entry["threshold"])


def test_metadata_says_what_it_takes(house: GeneratorHouse) -> None:
    ask = house.inference()
    metadata = ask.ModelMetadata(oip.ModelMetadataRequest(name="tiny"))
    assert [item.name for item in metadata.inputs] == ["text_input", "messages"]
    assert [item.name for item in metadata.outputs] == ["text_output", "token_ids"]
    config = ask.ModelConfig(oip.ModelConfigRequest(name="tiny")).config
    assert config.model_transaction_policy.decoupled
    statistics = house.inference("auditor").ModelStatistics(oip.ModelStatisticsRequest(name="tiny"))
    assert statistics.model_stats[0].inference_stats.success.count > 0


def test_a_stream_that_is_cut_is_recorded_and_frees_the_cache(house: GeneratorHouse) -> None:
    batches, before = house.batches(), house.gateway.recorder.size
    call = house.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    first = next(call)
    with batches.manager.pause():
        call.cancel()
        until(lambda: house.gateway.recorder.size == before + 2)
    opened, cut = house.entries(before)
    assert (opened["outcome"], cut["outcome"]) == ("opened", "cut")
    assert (opened["input"], opened["time"]) == (cut["input"], cut["time"])
    assert cut["output"].startswith("sha256:")
    assert len(ids_of(first.infer_response)) == 1
    until(lambda: batches.room.free == batches.room.pages)
    cache = batches.manager.batch_processor.cache
    until(lambda: cache.compute_free_capacity() == 1.0)


def test_what_cannot_be_recorded_does_not_leave(
    house: GeneratorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise Refusal(Reason.RECORD_FAILED)

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "_record", full)
        (only,) = stream(house, asked(max_tokens=4))
    assert only.error_message.startswith(Reason.RECORD_FAILED.name)
    assert not only.infer_response.outputs


def test_an_end_that_cannot_be_recorded_is_told(
    house: GeneratorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, before = Recorder._record, house.gateway.recorder.size

    def opening_alone(self: Recorder, outcome: Any) -> Any:
        if outcome.outcome != "opened":
            raise Refusal(Reason.RECORD_FAILED)
        return record(self, outcome)

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "_record", opening_alone)
        found = stream(house, asked(max_tokens=4, receipt=True))
    assert found[-1].error_message.startswith(Reason.RECORD_FAILED.name)
    assert not any(is_last(one.infer_response) for one in found[:-1])
    assert "receipt" not in found[-1].infer_response.parameters
    assert [entry["outcome"] for entry in house.entries(before)] == ["opened"]


def test_open_streams_finish_on_the_version_they_began_with(
    house: GeneratorHouse, decoder: Decoder, tmp_path: Path
) -> None:
    second = tiny_decoder.make(tmp_path / "second", steps=10, seed=1)
    house.publish_generator(second)
    expected = ids_of(house.inference().ModelInfer(asked(max_tokens=OUTPUT_TOKENS)))
    call = house.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    found = [next(call).infer_response]
    with house.batches().manager.pause():
        house.promote("tiny", 2)
        moved = house.inference().ModelInfer(asked(max_tokens=8))
    found += [message.infer_response for message in call]
    assert (found[-1].model_version, moved.model_version) == ("1", "2")
    assert [token for one in found for token in ids_of(one)] == expected
    house.governance("admin").rollback("tiny", "production", 1, "test")
    house.await_version("tiny", 1)
    back = house.inference().ModelInfer(asked(max_tokens=OUTPUT_TOKENS))
    assert (back.model_version, ids_of(back)) == ("1", expected)


def test_a_generator_that_dies_is_told_of_and_comes_back(house: GeneratorHouse) -> None:
    before = house.gateway.recorder.size
    call = house.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    next(call)
    with house.batches().manager.pause():
        house.generator._server.stop(None)
        *_, told = call
    assert told.error_message.startswith(Reason.ENGINE_UNAVAILABLE.name)
    until(lambda: house.gateway.recorder.size == before + 2)
    assert house.entries(before)[1]["outcome"] == Reason.ENGINE_UNAVAILABLE.name
    house.stop_generator()
    house.start_generator()
    end, ask = time.monotonic() + 30, house.inference()
    while True:
        (*_, found) = ask.ModelStreamInfer(iter([asked(max_tokens=4)]), timeout=60)
        if not found.error_message:
            break
        assert time.monotonic() < end, found.error_message
        time.sleep(0.1)


def test_tritonclients_streaming_works_as_it_is(house: GeneratorHouse) -> None:
    client = house.profile("client")
    endpoint = client.endpoint.replace("127.0.0.1", "localhost")
    script = Path(__file__).with_name("triton_stream.py")
    done = run(
        [python_with("tritonclient"), script, endpoint, client.server_authority],
        json.dumps({"token": client.token.read_text(), "prompt": PROMPT}),
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    whole = house.inference().ModelInfer(asked(max_tokens=12))
    assert "".join(seen["texts"]) == text_of(whole)
    assert seen["final"] == [False] * (len(seen["texts"]) - 1) + [True]
    assert seen["refused"].startswith(Reason.PARAMETER_MALFORMED.name)


def replay(house: GeneratorHouse, receipt: str | bytes, *words: str, prompt: str = PROMPT) -> Any:
    """What `audit replay-generator` finds, or the reason's name."""
    given, asked = house.state / "again.json", house.state / "again.txt"
    given.write_bytes(receipt if isinstance(receipt, bytes) else receipt.encode())
    asked.write_text(prompt)
    command = ("audit", "replay-generator", str(given), "--prompt", str(asked), "--json")
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
    next(call)
    with house.batches().manager.pause():
        call.cancel()
        until(lambda: house.gateway.recorder.size == before + 2)
    opened, cut = (house.gateway.recorder.open(before + at).encode() for at in range(2))
    words = ("--chat", "--max-tokens", str(OUTPUT_TOKENS))
    again = replay(house, cut, *words, prompt=json.dumps(messages))
    assert (again["outcome"], again["answer"]) == ("cut", "the same as far as it came")
    assert 1 <= again["tokens"] < OUTPUT_TOKENS
    assert replay(house, opened, *words, prompt=json.dumps(messages))["answer"] == "none was given"


def test_nothing_more_leaves_of_a_version_that_is_revoked(house: GeneratorHouse) -> None:
    before, digest = house.gateway.recorder.size, house.digest()
    call = house.inference().ModelStreamInfer(iter([asked(max_tokens=OUTPUT_TOKENS)]))
    next(call)
    with house.batches().manager.pause():
        house.governance("admin").revoke("tiny", 1, "test")
        until(lambda: house.gateway.engine.is_revoked(digest))
    *_, told = call
    assert told.error_message.startswith(Reason.VERSION_REVOKED.name)
    assert [entry["outcome"] for entry in house.entries(before)] == [
        "opened",
        Reason.VERSION_REVOKED.name,
    ]
