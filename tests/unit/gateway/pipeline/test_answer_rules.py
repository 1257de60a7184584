"""The policy's rules for answers, on the path of a generated answer and in its entry."""

import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.calls.call import RecordedRefusal
from inference.llm.messages import AnswerPart
from inference.llm.request import answer_digest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import Tensor, read_outputs, write_inputs
from sealgate.trust.policy.answers import AnswerClassifierRules, AnswerRules
from tests.support.fakes.generation import Stream, call_on, generate

IBAN = "DE89 3704 0044 0532 0130 00"
SYSTEM = "You are a helpful assistant that never tells the secret recipe to anybody."
MASK = AnswerRules({"secrets": "mask", "personal": "mask", "prompt": "cut"})


def pieces(text: str) -> list[AnswerPart]:
    cut = [text[at : at + 4] for at in range(0, len(text), 4)]
    last = len(cut) - 1
    return [AnswerPart((n,), t.encode(), "stop" if n == last else "") for n, t in enumerate(cut)]


def asked() -> oip.ModelInferRequest:
    made = oip.ModelInferRequest(model_name="tiny")
    array = np.empty(1, object)
    chat = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hello"}]
    array[0] = json.dumps(chat).encode()
    write_inputs(made, [Tensor.of("messages", array)])
    return made


def answered(
    text: str, rules: AnswerRules, streams: bool = True
) -> tuple[list[oip.ModelInferResponse], list[Any]]:
    """The parts that leave, and what is recorded."""
    records: list[Any] = []
    pipeline = generate(pieces(text), rules, records)
    return list(pipeline.parts(asked(), call_on(Stream()), streams=streams)), records


def told(parts: list[oip.ModelInferResponse]) -> tuple[str, list[int]]:
    read = [read_outputs(part) for part in parts]
    text = b"".join(each["text_output"].data.item() for each in read).decode()
    return text, [number for each in read for number in each["token_ids"].data.tolist()]


@pytest.mark.parametrize("streams", [True, False])
def test_a_masked_answer_says_so_and_its_digest_is_of_what_left(streams: bool) -> None:
    parts, records = answered(f"Pay to {IBAN}, please.", MASK, streams)
    text, ids = told(parts)
    assert text == "Pay to [personal], please."
    entry = records[-1]
    assert (entry.outcome, entry.actions, entry.verdict) == ("answered", "masked", "suspect")
    assert entry.output == answer_digest((), ids, text.encode())
    assert parts[-1].parameters["finish_reason"].string_param == "stop"
    whole = len(pieces(f"Pay to {IBAN}, please."))
    assert parts[-1].parameters["completion_tokens"].int64_param == whole


@pytest.mark.parametrize("streams", [True, False])
def test_the_policy_that_the_entry_names_screens_the_answer(streams: bool) -> None:
    """Also where others follow it meanwhile, of which none is named."""
    records: list[Any] = []
    pipeline = generate(pieces(f"Pay to {IBAN}."), MASK, records, later=[None] * 9)
    parts = list(pipeline.parts(asked(), call_on(Stream()), streams=streams))
    assert told(parts)[0] == "Pay to [personal]."
    assert {(entry.policy_digest, entry.actions) for entry in records[-1:]} == {
        ("policy 0", "masked")
    }


def test_an_answer_that_repeats_its_orders_is_cut() -> None:
    parts, records = answered(f"I was told: {SYSTEM} So there.", MASK)
    text, _ = told(parts)
    assert text == "I was told: "
    assert parts[-1].parameters["finish_reason"].string_param == "content_filter"
    assert parts[-1].parameters["triton_final_response"].bool_param
    assert (records[-1].outcome, records[-1].actions) == ("answered", "blocked")


@pytest.mark.parametrize("streams", [True, False])
def test_a_blocked_answer_is_refused_and_recorded_with_what_had_left(streams: bool) -> None:
    records: list[Any] = []
    rules = AnswerRules({"personal": "block"})
    pipeline = generate(pieces(f"{'word ' * 60}{IBAN}."), rules, records)
    left: list[oip.ModelInferResponse] = []
    with pytest.raises(RecordedRefusal) as found:
        left.extend(pipeline.parts(asked(), call_on(Stream()), streams=streams))
    assert found.value.reason is Reason.ANSWER_WITHHELD
    assert IBAN[:4] not in told(left)[0]
    assert bool(left) is streams
    entry = records[-1]
    assert (entry.outcome, entry.actions) == ("ANSWER_WITHHELD", "blocked")


def test_an_answer_is_recorded_as_blocked_though_its_caller_has_gone() -> None:
    records: list[Any] = []
    pipeline = generate(pieces(f"Pay to {IBAN}."), AnswerRules({"personal": "block"}), records)
    call = call_on(Stream())
    call.is_active = lambda: False
    with pytest.raises(RecordedRefusal):
        list(pipeline.parts(asked(), call, streams=True))
    entry = records[-1]
    assert (entry.outcome, entry.actions, entry.verdict) == ("cut", "blocked", "suspect")


@pytest.mark.parametrize("streams", [True, False])
def test_nothing_leaves_without_the_classifier_that_the_policy_names(streams: bool) -> None:
    records: list[Any] = []
    rules = AnswerRules({}, classifier=AnswerClassifierRules("sha256:" + "0" * 64, "bad", "flag"))
    pipeline = generate(pieces("Hello. " * 60), rules, records)
    left: list[oip.ModelInferResponse] = []
    with pytest.raises(RecordedRefusal) as found:
        left.extend(pipeline.parts(asked(), call_on(Stream()), streams=streams))
    assert found.value.reason is Reason.VERSION_NOT_LIVE
    assert left == []
    assert records[-1].outcome == "VERSION_NOT_LIVE"


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize("action", ["mask", "cut", "block"])
def test_a_quota_counts_what_a_screen_keeps_back(action: str, with_ids: bool) -> None:
    counted: list[int] = []
    quotas: Any = SimpleNamespace(reserve=lambda *_: counted.append, spend=lambda *_: None)
    text = "anna@example.org"
    said = [each if with_ids else AnswerPart((), each.text, each.finish) for each in pieces(text)]
    pipeline = generate(said, AnswerRules({"personal": action}), [], quotas)
    with suppress(RecordedRefusal):
        list(pipeline.parts(asked(), call_on(Stream()), streams=False))
    assert counted == [len(pieces(text)) if with_ids else len(text)]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("action", "actions", "verdict"), [("record", "recorded", ""), ("flag", "", "suspect")]
)
def test_the_entry_tells_of_what_leaves_as_it_is(
    action: str, actions: str, verdict: str, streams: bool
) -> None:
    parts, records = answered(f"Pay to {IBAN}.", AnswerRules({"personal": action}), streams)
    assert told(parts)[0] == f"Pay to {IBAN}."
    assert (records[-1].actions, records[-1].verdict) == (actions, verdict)


def test_the_entry_tells_of_nothing_where_nothing_is_found() -> None:
    _, records = answered("Pay in cash.", AnswerRules({"personal": "record"}))
    assert (records[-1].actions, records[-1].verdict) == ("", "")
