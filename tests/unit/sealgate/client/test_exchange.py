"""A client's checks of an honest or a lying gateway; the gateway is in memory."""

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
from tests.support.fakes.gateway import NONCE, QUESTION, ClientHarness, Failed, said_of


@pytest.fixture
def client():
    return ClientHarness()


def test_an_answer_is_handed_out_with_its_receipt(client):
    answer = client.ask()
    assert answer["y"].tolist() == [[0.0, 0.0]]
    assert answer.receipt.checkpoint.size == 1
    assert answer.receipt.fields["input"] == QUESTION.input_digest


def test_a_lone_callers_receipts_prove_the_logs_growth_by_themselves(client):
    for _ in range(20):
        client.ask()
    assert client.gateway.calls == ["GetPolicy", *["ModelInfer"] * 20]


def test_where_others_ask_too_the_log_is_asked_for_a_proof(client):
    for count in range(20):
        client.ask()
        client.gateway.others(count)
    assert client.gateway.calls.count("GetConsistencyProof") == 18


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
def test_a_receipt_that_is_not_of_this_very_call_is_refused(client, change, reason):
    client.gateway.change = change
    with refused(reason):
        client.ask()


def sent(client, change):
    """Lets the gateway send another response than the one that it recorded."""
    honest = client.gateway.ModelInfer

    def tampered(request):
        response = honest(request)
        change(response)
        return response

    client.gateway.ModelInfer = tampered


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
def test_an_answer_altered_on_its_way_is_refused(client, change, reason):
    sent(client, change)
    with refused(reason):
        client.ask()


def test_a_receipt_signed_by_another_key_is_refused(client):
    client.gateway.signer = "mallory"
    with refused(Reason.SIGNATURE_INVALID):
        client.ask()


def test_an_earlier_calls_receipt_does_not_stand_for_this_one(client):
    client.ask()
    old = client.gateway.ModelInfer(QUESTION.with_nonce(NONCE))
    client.ask()
    client.gateway.ModelInfer = lambda request: old
    with refused(Reason.RECEIPT_MISMATCH):
        client.ask()


def test_one_record_does_not_stand_for_two_calls_at_once(client):
    client.ask()
    calls = [client.exchange.ask(QUESTION, 10.0) for _ in range(2)]
    steps = [next(call) for call in calls]
    assert {step.method for step in steps} == {"ModelInfer"}
    response = client.gateway.ModelInfer(QUESTION.with_nonce(NONCE))
    with pytest.raises(StopIteration):
        calls[0].send(response)
    with refused(Reason.RECEIPT_MISMATCH):
        calls[1].send(response)


def test_an_earlier_answer_to_the_same_question_does_not_stand_for_this_one():
    """For a client without a memory: the question is the same, and so is the time, nearly."""
    first = ClientHarness(nonce=lambda: "first-client-first-call")
    first.ask()
    question = QUESTION.with_nonce("first-client-first-call")
    first.gateway.others(1)
    old = first.gateway.ModelInfer(question)
    second = ClientHarness(nonce=lambda: "second-client-first-call")
    second.gateway.leaves = first.gateway.leaves
    second.gateway.ModelInfer = lambda request: old
    with refused(Reason.RECEIPT_MISMATCH) as caught:
        second.ask()
    assert caught.value.detail == "parameters"


def test_each_attempt_has_a_nonce_of_its_own():
    drawn = iter(f"nonce-of-the-attempt-{number}" for number in range(3))
    client = ClientHarness(nonce=lambda: next(drawn))
    honest, asked = client.gateway.ModelInfer, []

    def seen(request):
        asked.append(request.parameters["nonce"].string_param)
        return honest(request)

    client.gateway.ModelInfer = seen
    client.gateway.failures = [Failed(grpc.StatusCode.UNAVAILABLE, Reason.DRAINING)]
    client.ask()
    client.ask()
    assert asked == [f"nonce-of-the-attempt-{number}" for number in range(3)]
    assert "nonce" not in QUESTION.request.parameters


def test_a_question_may_name_alias_or_version():
    client = ClientHarness()
    x = {"x": np.zeros((1, 4), np.float32)}
    assert (
        client.ask(PreparedRequest.of("digits", x, alias="canary")).receipt.fields["alias"]
        == "canary"
    )
    assert client.ask(PreparedRequest.of("digits", x, version=1)).receipt.fields["alias"] == ""


def test_an_entry_of_v1_is_refused_with_its_reason(client):
    """A gateway so old knows no nonce; one that overlooks it has written a leaf that binds less."""
    client.gateway.older = True
    with refused(Reason.PARAMETER_MALFORMED):
        client.ask()
    honest = client.gateway.ModelInfer

    def overlooked(request):
        del request.parameters["nonce"]
        return honest(request)

    client.gateway.ModelInfer = overlooked
    with refused(Reason.RECEIPT_OUTDATED):
        client.ask()


def test_entries_of_v1_are_taken_by_who_says_so_and_are_held_to_the_rest():
    client = ClientHarness(takes_v1=True)
    client.gateway.older = True
    answer = client.ask()
    assert "alias" not in answer.receipt.fields
    client.gateway.change = field("principal", "otto")
    with refused(Reason.RECEIPT_MISMATCH):
        client.ask()


def test_who_takes_entries_of_v1_is_not_told_less_of_those_of_v2():
    client = ClientHarness(takes_v1=True)
    assert client.ask().receipt.fields["alias"] == "production"
    client.gateway.change = field("alias", "canary")
    with refused(Reason.RECEIPT_MISMATCH):
        client.ask()


def test_a_forked_log_is_found_and_both_signed_states_are_kept(client):
    client.ask()
    client.gateway.others(3)
    client.ask()
    client.gateway.leaves[1] = b"something else"
    client.gateway.others(2)
    with pytest.raises(LogFork) as caught:
        client.ask()
    assert caught.value.reason is Reason.LOG_INCONSISTENT
    vkey = note.vkey(ANSWER_LOG, key("answer-log").public)
    assert [open_checkpoint(text, vkey).size for text in caught.value.notes] == [5, 8]


def test_a_fork_at_the_very_next_entry_is_found_without_asking(client):
    client.ask()
    client.gateway.leaves[0] = b"something else"
    with refused(Reason.LOG_INCONSISTENT):
        client.ask()
    assert "GetConsistencyProof" not in client.gateway.calls


@pytest.mark.parametrize("kept", [0, 3, 4])
def test_a_shrunk_log_is_found(client, kept):
    client.gateway.others(4)
    client.ask()
    del client.gateway.leaves[kept:]
    client.now += timedelta(seconds=1)
    with refused(Reason.LOG_INCONSISTENT):
        client.ask()


def test_what_was_seen_outlives_the_client(tmp_path):
    client = ClientHarness(witness=ConsistencyChecker(ClientMemoryFile(tmp_path / "witness.json")))
    client.gateway.others(4)
    client.ask()
    later = ClientHarness(witness=ConsistencyChecker(ClientMemoryFile(tmp_path / "witness.json")))
    later.gateway.others(2)
    with refused(Reason.LOG_INCONSISTENT):
        later.ask()
    later.gateway.policies = []
    client.exchange.witness.saw_policy(2)
    client.exchange.witness.save()
    older = ClientHarness(witness=ConsistencyChecker(ClientMemoryFile(tmp_path / "witness.json")))
    with refused(Reason.POLICY_ROLLED_BACK):
        older.ask()


def test_logs_are_witnessed_without_asking_a_model(client):
    client.gateway.others(3)
    assert client.gateway.run(client.exchange.witness_logs(10.0)) == {ANSWER_LOG: 3}
    client.gateway.leaves[0] = b"something else"
    with refused(Reason.LOG_INCONSISTENT):
        client.gateway.run(client.exchange.witness_logs(10.0))


def test_a_refusals_receipt_is_checked_as_an_answers_is(client):
    gateway = client.gateway
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
            client.ask()
        if not changes:
            assert isinstance(caught.value, GatewayRefusal)
            assert caught.value.receipt.fields["outcome"] == "TENSOR_SHAPE"


def test_a_new_policy_is_fetched_when_a_receipt_needs_it(client):
    client.ask()
    client.gateway.policies.append(make_policy(version=2))
    assert client.ask().receipt.fields["policy_digest"] == client.gateway.policies[1].digest
    assert client.gateway.calls.count("GetPolicy") == 2


def test_the_policy_is_fetched_anew_after_a_while_and_must_not_have_expired(client):
    client.ask()
    client.elapsed = 301.0
    client.ask()
    assert client.gateway.calls.count("GetPolicy") == 2
    client.now = NOW + timedelta(days=301)
    with refused(Reason.POLICY_EXPIRED):
        client.ask()


def test_a_caller_whom_the_policy_does_not_know_is_told_so():
    for identities in ((), ("mtls:nobody",), ("mtls:carla", "mtls:otto")):
        client = ClientHarness(caller=CallerIdentity(None, lambda told=identities: told))
        with refused(Reason.PRINCIPAL_UNKNOWN):
            client.ask()


def test_other_roots_reach_no_policy():
    pems = [key("mallory").public.pem]
    with refused(Reason.THRESHOLD_NOT_MET):
        ClientHarness(roots=PinnedRoots.of(pems, 1)).ask()
