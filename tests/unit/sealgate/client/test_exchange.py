"""What a caller makes of a gateway that is honest or lying; the gateway is in memory."""

from dataclasses import replace
from datetime import timedelta

import grpc
import numpy as np
import pytest

from sealgate.client.consistency import ClientMemoryFile, ConsistencyChecker
from sealgate.client.exchange import CallerIdentity
from sealgate.client.request import PinnedRoots, PreparedRequest
from sealgate.reasons import Reason
from sealgate.remote.errors import GatewayRefusal, LogFork
from sealgate.trust.receipts import Receipt
from sealgate.trust.times import format_micros
from sealgate.trust.transparency import note, open_checkpoint
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, make_policy, refused
from tests.support.fakes.gateway import NONCE, QUESTION, Failed, Room, said_of


@pytest.fixture
def room():
    return Room()


def test_an_answer_is_handed_out_with_its_receipt(room):
    answer = room.ask()
    assert answer["y"].tolist() == [[0.0, 0.0]]
    assert answer.receipt.checkpoint.size == 1
    assert answer.receipt.fields["input"] == QUESTION.input_digest


def test_a_lone_callers_receipts_prove_the_logs_growth_by_themselves(room):
    for _ in range(20):
        room.ask()
    assert room.gateway.calls == ["GetPolicy", *["ModelInfer"] * 20]


def test_where_others_ask_too_the_log_is_asked_for_a_proof(room):
    for count in range(20):
        room.ask()
        room.gateway.others(count)
    assert room.gateway.calls.count("GetConsistencyProof") == 18


def field(name, value):
    return lambda values: values.update({name: value})


@pytest.mark.parametrize(
    ("change", "reason"),
    {
        "another caller": (field("principal", "otto"), Reason.RECEIPT_MISMATCH),
        "another method": (field("method", "/x/Y"), Reason.RECEIPT_MISMATCH),
        "another model": (field("model", "iris"), Reason.RECEIPT_MISMATCH),
        "another version": (field("version", "2"), Reason.RECEIPT_MISMATCH),
        "another input": (field("input", "sha256:" + "0" * 64), Reason.RECEIPT_MISMATCH),
        "another output": (field("output", "sha256:" + "0" * 64), Reason.RECEIPT_MISMATCH),
        "a refusal": (field("outcome", "ADVERSARIAL_INPUT"), Reason.RECEIPT_MISMATCH),
        "a policy unheard of": (field("policy_digest", "sha256:0"), Reason.POLICY_INVALID),
        "another alias": (field("alias", "canary"), Reason.RECEIPT_MISMATCH),
        "no alias": (field("alias", ""), Reason.RECEIPT_MISMATCH),
        "other parameters": (field("parameters", "sha256:0"), Reason.RECEIPT_MISMATCH),
        "no parameters": (field("parameters", ""), Reason.RECEIPT_MISMATCH),
        "another id": (field("request_id", "8"), Reason.RECEIPT_MISMATCH),
        "another day": (
            field("time", format_micros(NOW - timedelta(days=1))),
            Reason.RECEIPT_MISMATCH,
        ),
        "no time": (field("time", "now"), Reason.DOCUMENT_MALFORMED),
    }.values(),
)
def test_a_receipt_that_is_not_of_this_very_call_is_refused(room, change, reason):
    room.gateway.change = change
    with refused(reason):
        room.ask()


def sent(room, change):
    """Lets the gateway send another response than the one that it recorded."""
    honest = room.gateway.ModelInfer

    def tampered(request):
        response = honest(request)
        change(response)
        return response

    room.gateway.ModelInfer = tampered


def forge(response):
    receipt = Receipt.decode(response.parameters["receipt"].string_param.encode())
    salt, _ = receipt.opened["verdict"]
    forged = replace(receipt, opened={**receipt.opened, "verdict": (salt, "clean")})
    response.parameters["receipt"].string_param = forged.encode().decode()


def hide(field):
    def hidden(response):
        receipt = Receipt.decode(response.parameters["receipt"].string_param.encode())
        opened = {name: pair for name, pair in receipt.opened.items() if name != field}
        fewer = replace(receipt, opened=opened)
        response.parameters["receipt"].string_param = fewer.encode().decode()

    return hidden


def alter_output(response):
    response.raw_output_contents[0] = np.ones((1, 2), np.float32).tobytes()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (forge, Reason.PROOF_INVALID),
        (hide("input"), Reason.RECEIPT_MISMATCH),
        (hide("alias"), Reason.RECEIPT_MISMATCH),
        (hide("parameters"), Reason.RECEIPT_MISMATCH),
        (alter_output, Reason.RECEIPT_MISMATCH),
        (lambda response: response.parameters.clear(), Reason.RECEIPT_MISSING),
        (lambda response: setattr(response, "id", "8"), Reason.RECEIPT_MISMATCH),
        (lambda response: setattr(response, "model_version", ""), Reason.RECEIPT_MISMATCH),
        (lambda response: setattr(response, "model_version", "2"), Reason.RECEIPT_MISMATCH),
        (lambda response: response.raw_output_contents.append(b""), Reason.RAW_CONTENTS_MISMATCH),
    ],
)
def test_an_answer_altered_on_its_way_is_refused(room, change, reason):
    sent(room, change)
    with refused(reason):
        room.ask()


def test_a_receipt_signed_by_another_key_is_refused(room):
    room.gateway.signer = "mallory"
    with refused(Reason.SIGNATURE_INVALID):
        room.ask()


def test_an_earlier_calls_receipt_does_not_stand_for_this_one(room):
    room.ask()
    old = room.gateway.ModelInfer(QUESTION.with_nonce(NONCE))
    room.ask()
    room.gateway.ModelInfer = lambda request: old
    with refused(Reason.RECEIPT_MISMATCH):
        room.ask()


def test_one_record_does_not_stand_for_two_calls_at_once(room):
    room.ask()
    calls = [room.exchange.ask(QUESTION, 10.0) for _ in range(2)]
    steps = [next(call) for call in calls]
    assert {step.method for step in steps} == {"ModelInfer"}
    response = room.gateway.ModelInfer(QUESTION.with_nonce(NONCE))
    with pytest.raises(StopIteration):
        calls[0].send(response)
    with refused(Reason.RECEIPT_MISMATCH):
        calls[1].send(response)


def test_an_earlier_answer_to_the_same_question_does_not_stand_for_this_one():
    """For a client without a memory: the question is the same, and so is the time, nearly."""
    first = Room(nonce=lambda: "first-client-first-call")
    first.ask()
    question = QUESTION.with_nonce("first-client-first-call")
    first.gateway.others(1)
    old = first.gateway.ModelInfer(question)
    second = Room(nonce=lambda: "second-client-first-call")
    second.gateway.leaves = first.gateway.leaves
    second.gateway.ModelInfer = lambda request: old
    with refused(Reason.RECEIPT_MISMATCH) as caught:
        second.ask()
    assert caught.value.detail == "parameters"


def test_each_attempt_has_a_nonce_of_its_own():
    drawn = iter(f"nonce-of-the-attempt-{number}" for number in range(3))
    room = Room(nonce=lambda: next(drawn))
    honest, asked = room.gateway.ModelInfer, []

    def seen(request):
        asked.append(request.parameters["nonce"].string_param)
        return honest(request)

    room.gateway.ModelInfer = seen
    room.gateway.failures = [Failed(grpc.StatusCode.UNAVAILABLE, Reason.DRAINING)]
    room.ask()
    room.ask()
    assert asked == [f"nonce-of-the-attempt-{number}" for number in range(3)]
    assert "nonce" not in QUESTION.request.parameters


def test_a_question_may_name_alias_or_version():
    room = Room()
    x = {"x": np.zeros((1, 4), np.float32)}
    assert (
        room.ask(PreparedRequest.of("digits", x, alias="canary")).receipt.fields["alias"]
        == "canary"
    )
    assert room.ask(PreparedRequest.of("digits", x, version=1)).receipt.fields["alias"] == ""


def test_an_entry_of_v1_is_refused_with_its_reason(room):
    """A gateway so old knows no nonce; one that overlooks it has written a leaf that binds less."""
    room.gateway.older = True
    with refused(Reason.PARAMETER_MALFORMED):
        room.ask()
    honest = room.gateway.ModelInfer

    def overlooked(request):
        del request.parameters["nonce"]
        return honest(request)

    room.gateway.ModelInfer = overlooked
    with refused(Reason.RECEIPT_OUTDATED):
        room.ask()


def test_entries_of_v1_are_taken_by_who_says_so_and_are_held_to_the_rest():
    room = Room(takes_v1=True)
    room.gateway.older = True
    answer = room.ask()
    assert "alias" not in answer.receipt.fields
    room.gateway.change = field("principal", "otto")
    with refused(Reason.RECEIPT_MISMATCH):
        room.ask()


def test_who_takes_entries_of_v1_is_not_told_less_of_those_of_v2():
    room = Room(takes_v1=True)
    assert room.ask().receipt.fields["alias"] == "production"
    room.gateway.change = field("alias", "canary")
    with refused(Reason.RECEIPT_MISMATCH):
        room.ask()


def test_a_forked_log_is_found_and_both_signed_states_are_kept(room):
    room.ask()
    room.gateway.others(3)
    room.ask()
    room.gateway.leaves[1] = b"something else"
    room.gateway.others(2)
    with pytest.raises(LogFork) as caught:
        room.ask()
    assert caught.value.reason is Reason.LOG_INCONSISTENT
    vkey = note.vkey(ANSWER_LOG, key("answer-log").public)
    assert [open_checkpoint(text, vkey).size for text in caught.value.notes] == [5, 8]


def test_a_fork_at_the_very_next_entry_is_found_without_asking(room):
    room.ask()
    room.gateway.leaves[0] = b"something else"
    with refused(Reason.LOG_INCONSISTENT):
        room.ask()
    assert "GetConsistencyProof" not in room.gateway.calls


@pytest.mark.parametrize("kept", [0, 3, 4])
def test_a_shrunk_log_is_found(room, kept):
    room.gateway.others(4)
    room.ask()
    del room.gateway.leaves[kept:]
    room.now += timedelta(seconds=1)
    with refused(Reason.LOG_INCONSISTENT):
        room.ask()


def test_what_was_seen_outlives_the_client(tmp_path):
    room = Room(witness=ConsistencyChecker(ClientMemoryFile(tmp_path / "witness.json")))
    room.gateway.others(4)
    room.ask()
    later = Room(witness=ConsistencyChecker(ClientMemoryFile(tmp_path / "witness.json")))
    later.gateway.others(2)
    with refused(Reason.LOG_INCONSISTENT):
        later.ask()
    later.gateway.policies = []
    room.exchange.witness.saw_policy(2)
    room.exchange.witness.save()
    older = Room(witness=ConsistencyChecker(ClientMemoryFile(tmp_path / "witness.json")))
    with refused(Reason.POLICY_ROLLED_BACK):
        older.ask()


def test_logs_are_witnessed_without_asking_a_model(room):
    room.gateway.others(3)
    assert room.gateway.run(room.exchange.witness_logs(10.0)) == {ANSWER_LOG: 3}
    room.gateway.leaves[0] = b"something else"
    with refused(Reason.LOG_INCONSISTENT):
        room.gateway.run(room.exchange.witness_logs(10.0))


def test_a_refusals_receipt_is_checked_as_an_answers_is(room):
    gateway = room.gateway
    told = {"outcome": "TENSOR_SHAPE", "model": "digits", "input": QUESTION.input_digest}
    told |= said_of(QUESTION.with_nonce(NONCE))
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for changes, reason in (
        ({}, Reason.TENSOR_SHAPE),
        ({"outcome": "answered"}, Reason.RECEIPT_MISMATCH),
        ({"input": "sha256:0"}, Reason.RECEIPT_MISMATCH),
        ({"principal": "otto"}, Reason.RECEIPT_MISMATCH),
        ({"alias": "canary"}, Reason.RECEIPT_MISMATCH),
        ({"parameters": ""}, Reason.RECEIPT_MISMATCH),
        ({"parameters": "sha256:0"}, Reason.RECEIPT_MISMATCH),
        ({"request_id": "8"}, Reason.RECEIPT_MISMATCH),
    ):
        receipt = gateway.record(**{**told, **changes})
        gateway.failures = [Failed(invalid, Reason.TENSOR_SHAPE, receipt=receipt)]
        with refused(reason) as caught:
            room.ask()
        if not changes:
            assert isinstance(caught.value, GatewayRefusal)
            assert caught.value.receipt.fields["outcome"] == "TENSOR_SHAPE"


def test_a_new_policy_is_fetched_when_a_receipt_needs_it(room):
    room.ask()
    room.gateway.policies.append(make_policy(version=2))
    assert room.ask().receipt.fields["policy_digest"] == room.gateway.policies[1].digest
    assert room.gateway.calls.count("GetPolicy") == 2


def test_the_policy_is_fetched_anew_after_a_while_and_must_not_have_expired(room):
    room.ask()
    room.elapsed = 301.0
    room.ask()
    assert room.gateway.calls.count("GetPolicy") == 2
    room.now = NOW + timedelta(days=301)
    with refused(Reason.POLICY_EXPIRED):
        room.ask()


def test_a_caller_whom_the_policy_does_not_know_is_told_so():
    for identities in ((), ("mtls:nobody",), ("mtls:carla", "mtls:otto")):
        room = Room(caller=CallerIdentity(None, lambda told=identities: told))
        with refused(Reason.PRINCIPAL_UNKNOWN):
            room.ask()


def test_other_roots_reach_no_policy():
    pems = [key("mallory").public.pem]
    with refused(Reason.THRESHOLD_NOT_MET):
        Room(roots=PinnedRoots.of(pems, 1)).ask()
