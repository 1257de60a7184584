"""The page, in a real browser, on a good receipt and on forged ones: which step says what."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from sealgate.trust import canonical, dsse
from sealgate.trust.policy import Policy
from sealgate.trust.policy.validity import GracePeriod
from sealgate.trust.receipts import CALLER_FIELDS
from sealgate.trust.receipts.answer_entry import FIELDS, V1_FIELDS
from sealgate.trust.times import format_time
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    key,
    p256_key,
    sign_policy,
)
from tests.support.builders.documents.receipts import (
    altered,
    policy_in_force,
    proof_of,
    receipt,
    with_proof,
)
from tests.support.builders.documents.vectors import V1_VALUES

GOOD = {
    "policy-1": "holds",
    "policy-2": "holds",
    "policy-3": "holds",
    "policy-4": "holds",
    "receipt-0": "holds",
    "receipt-1": "holds",
    "receipt-2": "holds",
    "receipt-3": "holds",
    "receipt-4a": "holds",
    "receipt-4b": "holds",
    "receipt-4c": "holds",
}
# No salt begins with G, whatever the answer's fields are.
_FIRST_SALT = re.findall('"salt":"[0-9a-f]', receipt())[0]
AFTER_THE_POLICY = dict.fromkeys(("receipt-2", "receipt-3", "receipt-4c"), "unchecked")


def shown(page, file, text):
    page.open(file)
    page.paste(text)
    return page.verdict(), page.steps()


def broken(page, file, text, **steps):
    """The receipt is not proved; these steps differ from those of a good one."""
    expected = GOOD | {name.replace("_", "-"): state for name, state in steps.items()}
    assert shown(page, file, text) == ("broken", expected)


def test_a_good_receipt_holds_at_every_step(page, carrying):
    assert shown(page, carrying, receipt()) == ("holds", GOOD)
    assert list(page.steps()) == list(GOOD)
    opened = {field: "holds" if field in CALLER_FIELDS else "sealed" for field in FIELDS}
    assert page.fields() == opened
    assert "entry 6 of example.org/answers, among 11" in page.find("#summary").text


def test_a_receipt_of_an_entry_of_v1_holds_too(page, carrying):
    assert shown(page, carrying, receipt(values=V1_VALUES)) == ("holds", GOOD)
    opened = {field: "holds" if field in CALLER_FIELDS else "sealed" for field in V1_FIELDS}
    assert page.fields() == opened


def test_each_level_of_the_path_is_shown(page, carrying):
    shown(page, carrying, receipt())
    proof = proof_of()
    assert len(page.levels()) == len(proof.hashes) == 4
    root = base64.b64decode(proof.checkpoint_note.splitlines()[2])
    assert page.levels()[-1] == root.hex()


def test_what_an_auditor_is_shown_holds_too(page, carrying):
    assert shown(page, carrying, receipt(fields=FIELDS)) == ("holds", GOOD)
    assert set(page.fields().values()) == {"holds"}


@pytest.mark.parametrize("field", CALLER_FIELDS)
def test_an_altered_field_is_named(page, carrying, field):
    def change(value):
        value["opened"][field]["value"] += "0"

    broken(page, carrying, altered(change), receipt_1="broken")
    assert page.fields()[field] == "broken"
    assert list(page.fields().values()).count("broken") == 1
    assert page.says("receipt-1") == f"Not what was recorded: {field}."


def test_an_altered_salt_is_noticed(page, carrying):
    def change(value):
        value["opened"]["time"]["salt"] = "00" * 16

    broken(page, carrying, altered(change), receipt_1="broken")


@pytest.mark.parametrize("position", range(len(FIELDS)))
def test_an_altered_commitment_is_noticed(page, carrying, position):
    def change(value):
        value["commitments"][position] = "00" * 32

    opened = FIELDS[position] in CALLER_FIELDS
    fields = "broken" if opened else "holds"
    broken(page, carrying, altered(change), receipt_1=fields, receipt_4c="broken")


def test_an_altered_path_leads_elsewhere(page, carrying):
    for line in proof_of().encode().splitlines()[2:6]:
        other = with_proof(line, "A" * 43 + "=")
        broken(page, carrying, other, receipt_4c="broken")


def test_a_path_of_another_length_or_place_is_refused(page, carrying):
    first = proof_of().encode().splitlines()[2]
    nowhere = {"receipt_4b": "broken", "receipt_4c": "unchecked"}
    broken(page, carrying, with_proof(f"{first}\n", ""), **nowhere)
    broken(page, carrying, with_proof(first, f"{first}\n{first}"), **nowhere)
    broken(page, carrying, with_proof("index 6\n", "index 11\n"), **nowhere)
    broken(page, carrying, with_proof("index 6\n", "index 7\n"), receipt_4c="broken")


def test_an_altered_checkpoint_is_not_the_logs(page, carrying):
    """Whether its size or its root is altered; a root that fits no path is noticed twice."""
    unsigned = {"receipt_3": "broken", "receipt_4c": "unchecked"}
    broken(page, carrying, with_proof("\n11\n", "\n12\n"), **unsigned)
    root = proof_of().checkpoint_note.splitlines()[2]
    forged = with_proof(root, "A" * 43 + "=")
    broken(page, carrying, forged, receipt_3="broken", receipt_4c="broken")


def test_a_log_made_up_whole_is_refused_at_its_signature(page, carrying):
    """Path and root agree here; only the key is not the log's."""
    unsigned = {"receipt_3": "broken", "receipt_4c": "unchecked"}
    broken(page, carrying, receipt(proof_of(signer="mallory")), **unsigned)
    assert "does not prove that checkpoint" in page.says("receipt-4c")


def test_a_signature_under_the_logs_own_hint_is_checked(page, carrying):
    line = proof_of().checkpoint_note.splitlines()[-1]
    last = line[-3]
    other = line[:-3] + ("A" if last != "A" else "B") + line[-2:]
    unsigned = {"receipt_3": "broken", "receipt_4c": "unchecked"}
    broken(page, carrying, with_proof(line, other), **unsigned)


@pytest.mark.parametrize(
    ("origin", "signer"), [("example.org/mine", "answer-log"), (REGISTRY_LOG, "registry-log")]
)
def test_a_log_that_the_policy_does_not_name_is_refused(page, carrying, origin, signer):
    unknown = {"receipt_2": "broken", "receipt_3": "unchecked", "receipt_4c": "unchecked"}
    broken(page, carrying, receipt(proof_of(origin=origin, signer=signer)), **unknown)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"commitments":["', '"commitments": ["'),
        ('"proof":"', '"extra":0,"proof":"'),
        (_FIRST_SALT, '"salt":"G'),
        ("receipt/v2", "receipt/v1"),
        ("receipt/v2", "receipt/v3"),
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("index 6", "index 06"),
        ('"value":"1"', '"value":"\\ud800"'),
        ('"value":"1"', '"value":"1","value":"1"'),
        ('"value":"1"', '"value":"\\u0031"'),
        ('"value":"1"', '"value":1'),
        ("\\n11\\n", "\\n011\\n"),
    ],
)
def test_a_receipt_in_another_form_is_not_read(page, carrying, old, new):
    assert old in receipt()
    verdict, steps = shown(page, carrying, receipt().replace(old, new, 1))
    assert (verdict, steps["receipt-0"]) == ("broken", "broken")
    assert {steps[name] for name in GOOD if name > "receipt-0"} == {"unchecked"}


def test_a_wrong_root_breaks_the_first_step(page, page_file):
    strangers = [key(name).public for name in ("mallory", "trudy", "root-0")]
    file = page_file(sign_policy(policy_in_force()), roots=strangers)
    steps = {"policy-1": "broken"} | dict.fromkeys(
        ("policy-2", "policy-3", "policy-4"), "unchecked"
    )
    assert shown(page, file, receipt()) == ("broken", GOOD | steps | AFTER_THE_POLICY)
    assert page.says("policy-1") == "1 of your root keys have signed; 2 must have."


@pytest.mark.parametrize("signers", [("root-0",), ("root-0", "mallory")])
def test_too_few_signatures_break_the_first_step(page, page_file, signers):
    file = page_file(sign_policy(policy_in_force(), *signers))
    assert shown(page, file, receipt())[1]["policy-1"] == "broken"


def test_an_altered_policy_breaks_the_first_step(page, page_file):
    genuine = sign_policy(policy_in_force())
    forged = policy_in_force(version=7)
    envelope = dsse.Envelope(Policy.PAYLOAD_TYPE, forged.encode(), genuine.signatures)
    assert shown(page, page_file(envelope), receipt())[1]["policy-1"] == "broken"
    assert "is not that key's" in page.says("policy-1")


def test_a_document_signed_as_something_else_is_no_policy(page, page_file):
    roots = [key("root-0"), key("root-1")]
    envelope = dsse.sign("application/json", policy_in_force().encode(), *roots)
    assert shown(page, page_file(envelope), receipt())[1]["policy-1"] == "broken"


def test_an_expired_policy_is_not_in_force(page, page_file):
    past = format_time(datetime.now(UTC) - timedelta(minutes=1))
    file = page_file(sign_policy(policy_in_force(expires=past)))
    broken_there = GOOD | {"policy-4": "broken"} | AFTER_THE_POLICY
    assert shown(page, file, receipt()) == ("broken", broken_there)


def test_an_expired_policy_stands_in_its_grace(page, page_file):
    past = format_time(datetime.now(UTC) - timedelta(minutes=1))
    file = page_file(sign_policy(policy_in_force(expires=past, grace=GracePeriod(7200))))
    assert shown(page, file, receipt()) == ("holds", GOOD)
    assert "is in its grace" in page.says("policy-4")
    over = page_file(sign_policy(policy_in_force(expires=past, grace=GracePeriod(30))))
    assert shown(page, over, receipt())[1]["policy-4"] == "broken"


def test_a_chain_of_policies_is_followed(page, page_file):
    one, two, three = (sign_policy(policy_in_force(version=n)) for n in (1, 2, 3))
    assert shown(page, page_file(one, two, three), receipt()) == ("holds", GOOD)
    assert page.says("policy-3") == "They are 1, 2, 3."
    assert shown(page, page_file(one, three), receipt())[1]["policy-3"] == "broken"
    stranger = sign_policy(policy_in_force(version=2), "root-0", "mallory")
    assert shown(page, page_file(one, stranger), receipt())[1]["policy-2"] == "broken"


def test_a_later_policy_may_withdraw_the_log(page, page_file):
    chain = [policy_in_force(), policy_in_force(version=2, answer_logs=())]
    unknown = {"receipt_2": "broken", "receipt_3": "unchecked", "receipt_4c": "unchecked"}
    broken(page, page_file(*map(sign_policy, chain)), receipt(), **unknown)
    assert ANSWER_LOG in page.says("receipt-2")


def test_root_keys_may_be_on_the_curve_that_hardware_has(page, page_file):
    """ECDSA's DER has many shapes, so several signatures are tried."""
    roots = [p256_key("root-0"), p256_key("root-1")]
    policy = policy_in_force()
    keys = {signer.public.keyid: signer.public for signer in roots}
    root = type(policy.root)(tuple(keys), 2)
    mixed = policy_in_force(keys={**policy.keys, **keys}, root=root)
    for _ in range(8):
        envelope = dsse.sign(Policy.PAYLOAD_TYPE, mixed.encode(), *roots)
        file = page_file(envelope, roots=list(keys.values()))
        assert shown(page, file, receipt()) == ("holds", GOOD)
    payload = canonical.encode(canonical.decode(mixed.encode()) | {"version": 9})
    forged = dsse.Envelope(Policy.PAYLOAD_TYPE, payload, envelope.signatures)
    file = page_file(forged, roots=list(keys.values()))
    assert shown(page, file, receipt())[1]["policy-1"] == "broken"
