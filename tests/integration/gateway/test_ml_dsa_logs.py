"""A gateway whose logs sign with ML-DSA-44 beside Ed25519."""

import json

import grpc
import pytest

from sealgate.reasons import Reason
from sealgate.remote import RECEIPT_METADATA
from sealgate.settings import ConfigError
from sealgate.trust.keys import load_private_key
from sealgate.trust.transparency import open_checkpoint
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows
from tests.support.harness.key_changes import finish, is_signed, rotate, run
from tests.support.harness.policy_changes import document, first_document, root, send, signed
from tests.support.harness.rollouts import await_true


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    harness = GatewayHarness(tmp_path_factory.mktemp("house") / "state", ml_dsa_logs=True)
    with (harness.state / "gateway.toml").open("a") as file:
        file.write("\n[limits]\nanchor_every = 1.0\n")
    harness.start()
    harness.publish("digits-standard", "digits")
    harness.promote("digits", 1)
    yield harness
    harness.stop()


def ask(harness):
    answer = harness.inference().ModelInfer(question("digits", rows(), receipt=True), timeout=60)
    return answer.parameters["receipt"].string_param.encode()


def test_an_answer_and_a_refusal_carry_both_signatures(harness, tmp_path):
    (tmp_path / "rows.csv").write_text(",".join(map(str, rows()[0])) + "\n")
    receipt = tmp_path / "receipt.json"
    words = ["infer", "digits", "--input", tmp_path / "rows.csv", "--receipt", receipt]
    asked = harness.command(*map(str, words))
    assert asked.exit_code == 0, asked.output
    verified = harness.command("receipt", "verify", str(receipt))
    assert verified.exit_code == 0, verified.output
    with pytest.raises(grpc.RpcError) as caught:
        harness.inference().ModelInfer(question("letters", rows(), receipt=True), timeout=60)
    metadata = dict(caught.value.trailing_metadata())
    assert b"house.localhost/answers" in metadata[RECEIPT_METADATA]
    note = harness.gateway.store.answers.note
    assert len(note.rpartition("\n\n")[2].splitlines()) == 2
    assert open_checkpoint(
        note, harness.gateway.engine.policy_in_force().log_key("house.localhost/answers")
    )


def test_a_statement_says_that_one_key_alone_signed_it(harness, tmp_path):
    statement = str(tmp_path / "statement.cose")
    run(harness, "audit", "show", "registry", "0", "--statement", statement)
    assert "holds, by the log's Ed25519 key alone" in run(harness, "receipt", "verify", statement)


def test_the_audit_verifies_both_logs(harness):
    result = harness.command("audit", "verify", "--wait", "60", "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) == 2


@pytest.mark.parametrize("log", ["answers", "registry"])
def test_the_first_key_is_replaced_and_the_second_stays(harness, tmp_path, monkeypatch, log):
    monkeypatch.chdir(tmp_path)
    files = {"answers": "answers", "registry": "registry-log"}
    following = load_private_key(harness.state / "keys" / f"{files[log]}.next.key").public
    beside = document(harness)["ml_dsa"][f"house.localhost/{log}"]
    old = ask(harness)
    rotate(harness, log)
    await_true(lambda: is_signed(harness, log, following, beside))
    for number, receipt in enumerate((old, ask(harness))):
        (tmp_path / f"{number}.json").write_bytes(receipt)
        run(harness, "receipt", "verify", f"{number}.json")
    told = json.loads(run(harness, "audit", "verify", "--wait", "60", "--json"))
    assert {row["found"] for row in told} == {"intact"}
    finish(harness, log)
    harness.stop()
    harness.start()
    ask(harness)
    assert is_signed(harness, log, following, beside)


def test_no_policy_leaves_the_registry_logs_key_out(harness):
    changed = document(harness)
    del changed["ml_dsa"]["house.localhost/registry"]
    envelope = signed(changed, root(harness, 1), root(harness, 2))
    assert refusal(send, harness, envelope) is Reason.POLICY_INVALID


def test_without_the_second_key_the_gateway_does_not_go_on(harness):
    harness.stop()
    configuration = harness.state / "gateway.toml"
    text = configuration.read_text()
    configuration.write_text(text.replace('ml_dsa_key = "keys/answers.ml-dsa.key"\n', ""))
    with pytest.raises(ConfigError, match=r"logs\.answers"):
        harness.start()
    configuration.write_text(text)
    assert set(first_document(harness)["ml_dsa"]) == {
        "house.localhost/answers",
        "house.localhost/registry",
    }
