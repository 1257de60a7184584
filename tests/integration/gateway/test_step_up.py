"""A verdict that steps up: the request passes with a second person's word, once, and recorded."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file

from gateway.config.document import GatewayConfig
from inference.screening.gradient_attacks import PGD_SHARE, PGD_STEPS, pgd
from registry.state import schema
from registry.storage.database import Database
from sealgate.audit.decision import HOLDS, Examination
from sealgate.audit.reader import AuditReader
from sealgate.cli.context import policy_history
from sealgate.client.client import connect, options_of
from sealgate.client.request import PreparedRequest
from sealgate.private_keys import open_signer
from sealgate.reasons import Reason
from sealgate.remote.errors import GatewayRefusal
from sealgate.trust.receipts import Receipt
from sealgate.trust.statements import sign_statement
from sealgate.trust.statements.allowance import Allowance
from sealgate.trust.times import format_time
from tests.support.harness.gateway import DATA, MODELS, rows, running
from tests.support.harness.policy_changes import change, person
from tests.support.oracles.intruder import Intruder

STEP_UP = {
    "verdicts": {"adversarial": "step-up"},
    "step_up": {"role": "approver", "seconds": 1800},
}


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("house") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)

        def edit(policy):
            policy["screens"] = {"digits": STEP_UP}
            person(policy, "approver-2")["roles"].append("client")

        change(harness, edit)
        yield harness


@pytest.fixture(scope="module")
def held(harness):
    """Attacked rows [n, 64] that this version's screening holds back."""
    data = load_file(DATA / "digits.safetensors")
    session = onnxruntime.InferenceSession(
        MODELS / "digits-standard" / "response.onnx", providers=["CPUExecutionProvider"]
    )
    clean, labels = data["x_test"][:200].astype(np.float32), data["y_test"][:200]
    moved = pgd(session, clean, labels, 0.2, 0.2 / PGD_SHARE, PGD_STEPS, 0.0, 1.0)
    live = harness.gateway.engine.live()["digits", "production"]
    found = [
        row
        for row in moved
        if harness.gateway.engine.infer(live, row[None]).verdict == "adversarial"
    ]
    assert len(found) >= 7
    return iter(found)


@pytest.fixture(scope="module")
def client(harness):
    profile = harness.profile("client")
    with connect(profile.endpoint, **options_of(profile)) as client:
        yield client


def word(harness, row, who="approver-1", signer=None, **changes):
    """Return a signed allowance of the client's request for a row, as text."""
    now = datetime.now(UTC)
    live = harness.gateway.engine.live()["digits", "production"]
    values = {
        "caller": "client",
        "model": "digits",
        "digest": live.digest,
        "input": PreparedRequest.of("digits", {"x": row[None]}).input_digest,
        "person": who,
        "reason": "seen by me",
        "issued": format_time(now),
        "expires": format_time(now + timedelta(minutes=10)),
        "nonce": "0f" * 16,
    }
    allowance = Allowance(**(values | changes))
    key = open_signer(harness.profile(signer or who).signing_key)
    return sign_statement(allowance, key).encode().decode()


def refused(client, row, **options):
    with pytest.raises(GatewayRefusal) as caught:
        client.infer("digits", {"x": row[None]}, **options)
    return caught.value


def entries(harness, start=0):
    recorder = harness.gateway.recorder
    return [
        {name: value for name, (_, value) in recorder.open(index).opened.items()}
        for index in range(start, recorder.size)
    ]


def test_it_passes_with_a_second_persons_word_and_is_recorded(harness, client, held):
    row = next(held)
    refusal = refused(client, row)
    assert refusal.reason is Reason.STEP_UP
    live = harness.gateway.engine.live()["digits", "production"]
    assert refusal.facts == {
        "caller": "client",
        "model": "digits",
        "version": "1",
        "version_digest": live.digest,
        "input": refusal.receipt.fields["input"],
    }
    size, before = harness.gateway.recorder.size, harness.gateway.store.registry.log.size()
    said = word(harness, row)
    answer = client.infer("digits", {"x": row[None]}, allowance=said)
    assert answer["logits"].shape == (1, 10)
    allowed, answered = entries(harness, size)
    assert (allowed["outcome"], answered["outcome"]) == ("allowed", "answered")
    assert (allowed["verdict"], answered["verdict"]) == ("", "adversarial")
    assert allowed["input"] == answered["input"] == refusal.facts["input"]
    assert refusal.receipt.fields["actions"] == "blocked"
    assert (allowed["actions"], answered["actions"]) == ("", "allowance")
    assert (allowed["screening"], answered["screening"]) == ("", "full")
    assert allowed["parameters"] == answered["parameters"] != refusal.receipt.fields["parameters"]
    # The registry's log holds what was signed, under the digest that the answer log names.
    log = harness.gateway.store.registry.log
    leaves = [json.loads(leaf) for block in log.entries(before, log.size()) for leaf in block]
    (entry,) = [leaf for leaf in leaves if leaf["event"] == "request.allowed"]
    assert entry["body"]["allowance"] == allowed["output"]
    # It is good for one answer.
    assert refused(client, row, allowance=said).reason is Reason.ALLOWANCE_USED


def test_a_used_allowance_stays_used_though_its_row_is_deleted(harness, client, held):
    row = next(held)
    said = word(harness, row)
    client.infer("digits", {"x": row[None]}, allowance=said)
    place = GatewayConfig.read(harness.state / "gateway.toml").registry.database
    with closing(Database.open_unchanged(place, "registry")) as database:
        intruder = Intruder(database)
        before = intruder.copy([schema.ALLOWANCES])
        intruder.delete(schema.ALLOWANCES)
        try:
            assert refused(client, row, allowance=said).reason is Reason.ALLOWANCE_USED
        finally:
            intruder.put_back(before)


def test_an_auditor_is_told_of_the_verdict_and_the_second_person(harness, client, held, tmp_path):
    row, receipt = next(held), tmp_path / "receipt.json"

    def decided(answer):
        receipt.write_bytes(answer.receipt.data)
        words = ("audit", "decision", str(receipt), "--json")
        result = harness.command(*words, person="auditor")
        steps = json.loads(result.stdout)
        return result.exit_code, [s for s in steps if s["step"] == "screening"]

    answer = client.infer("digits", {"x": row[None]}, allowance=word(harness, row))
    exit_code, (verdict, second) = decided(answer)
    # All holds; whether an anchor covers the answer already, the clock decides.
    assert exit_code in (0, 3)
    assert verdict["what"] == "verdict adversarial, which leads to step-up for client"
    assert "allowed by approver-1" in second["what"]
    assert second["what"].endswith(": seen by me")
    # A clean answer needed nobody.
    exit_code, (verdict,) = decided(client.infer("digits", {"x": rows()}))
    assert exit_code in (0, 3)
    assert verdict["what"] == "verdict clean, which leads to nothing for client"
    assert decided(refused(client, row))[1][0]["what"] == "verdict adversarial"


def test_an_allowance_that_is_not_shown_is_missed(harness, client, held, monkeypatch):
    row = next(held)
    answer = client.infer("digits", {"x": row[None]}, allowance=word(harness, row))
    policies = policy_history(harness.profile("auditor"), harness.channel("auditor"))
    reader = AuditReader(harness.channel("auditor"), policies[-1], lambda: datetime.now(UTC))
    receipt = Receipt.decode(answer.receipt.data)

    def broken():
        examination = Examination(receipt, policies, datetime.now(UTC))
        return [
            f.found.split(":")[0]
            for f in examination.findings(reader)
            if f.found != HOLDS and f.step != "anchor"
        ]

    with monkeypatch.context() as patch:
        patch.setattr(reader, "openings", lambda *asked: iter(()))
        assert broken() == ["ENTRY_UNKNOWN"]
    with monkeypatch.context() as patch:
        decision = reader.decision
        patch.setattr(reader, "decision", lambda *asked, allowance="": decision(*asked))
        assert broken() == ["ENTRY_UNKNOWN"]


def test_another_request_caller_or_time_is_refused(harness, client, held):
    row, other = next(held), next(held)
    past = format_time(datetime.now(UTC) - timedelta(minutes=1))
    for reason, said in (
        (Reason.ALLOWANCE_MISMATCH, word(harness, other)),
        (Reason.ALLOWANCE_MISMATCH, word(harness, row, caller="publisher")),
        (Reason.ALLOWANCE_EXPIRED, word(harness, row, expires=past)),
        (Reason.ALLOWANCE_SIGNER, word(harness, row, who="publisher")),
        (Reason.ALLOWANCE_SIGNER, word(harness, row, signer="admin")),
        (Reason.DOCUMENT_MALFORMED, "{}"),
        (Reason.PARAMETER_MALFORMED, "x" * 9000),
    ):
        assert refused(client, row, allowance=said).reason is reason
    # Nothing of that used the genuine one up.
    client.infer("digits", {"x": row[None]}, allowance=word(harness, row))


def test_nobody_allows_their_own_request(harness, held):
    row = next(held)
    profile = harness.profile("approver-2")
    said = word(harness, row, who="approver-2", caller="approver-2")
    with connect(profile.endpoint, **options_of(profile)) as approver:
        assert refused(approver, row, allowance=said).reason is Reason.ALLOWANCE_SIGNER


def test_a_revoked_right_to_allow_ends_what_was_signed(harness, client, held):
    row = next(held)
    said = word(harness, row, who="approver-2")
    change(harness, lambda policy: person(policy, "approver-2").update(roles=["client"]))
    assert refused(client, row, allowance=said).reason is Reason.ALLOWANCE_SIGNER


def test_the_commands_of_both_people(harness, held, tmp_path):
    np.save(tmp_path / "row.npy", next(held)[None])
    file, out = str(tmp_path / "row.npy"), str(tmp_path / "allowance.json")
    result = harness.command("infer", "digits", "--input", file, person="client")
    assert result.exit_code == 1
    assert "STEP_UP" in result.output
    assert "screen allow" in result.output
    words = ["--caller", "client", "--input", file, "--reason", "seen by me", "--output", out]
    result = harness.command("screen", "allow", "digits", "1", *words, person="approver-1")
    assert result.exit_code == 0, result.output
    result = harness.command(
        "infer", "digits", "--input", file, "--allowance", out, person="client"
    )
    assert result.exit_code == 0, result.output
