"""A running gateway gets new policies: who brings them, what they change, and what is refused."""

import base64
import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.keys import PrivateKey
from sealgate.trust.times import format_time
from sealgate.trust.transparency.note import vkey
from sealgate.v1 import registry_pb2
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows, running
from tests.support.harness.policy_changes import (
    accept,
    change,
    document,
    first_document,
    follow,
    person,
    root,
    send,
    signed,
)

LIVE = registry_pb2.GetPointerRequest(name="models/digits/aliases/production")


@pytest.fixture(scope="module")
def harness(tmp_path_factory) -> GatewayHarness:
    with running(tmp_path_factory.mktemp("policies") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness


@contextmanager
def load(harness):
    """A client that asks all the while; what was refused meanwhile, and how many were answered."""
    infer, done = harness.inference().ModelInfer, threading.Event()
    failed, answered = [], []

    def ask():
        while not done.is_set():
            try:
                answered.append(infer(question("digits", rows()), timeout=60).model_version)
            except Exception as error:
                failed.append(error)
            time.sleep(0.002)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield failed, answered
    finally:
        done.set()
        asking.join()


def infer(harness):
    return harness.inference().ModelInfer(question("digits", rows()), timeout=60)


def test_people_keys_rights_and_roots_change_under_load(harness):
    everything = {"principals": [], "models": ["*"], "aliases": ["*"]}
    rights = [
        everything | {"roles": ["client"], "actions": ["infer", "metadata"]},
        everything | {"roles": ["auditor"], "actions": ["read", "metadata"]},
    ]
    new = PrivateKey.generate()
    second = {"name": "auditor-2", "roles": ["auditor"], "keys": [], "identities": ["mtls:two"]}
    approver = PrivateKey.generate().public

    def hire(changed):
        changed["principals"].append(second)
        changed["keys"][approver.keyid] = approver.pem
        person(changed, "approver-1")["keys"].append(approver.keyid)

    def replace_root(changed):
        gone = root(harness, 1).public.keyid
        changed["root"]["keys"] = [k for k in changed["root"]["keys"] if k != gone]
        changed["root"]["keys"].append(new.public.keyid)
        changed["keys"][new.public.keyid] = new.public.pem

    with load(harness) as (failed, answered):
        change(harness, hire)
        accept(harness, rights=rights)
        assert harness.registry("auditor").GetPointer(LIVE).pointer.version == 1
        assert refusal(harness.registry("admin").GetPointer, LIVE) is Reason.RIGHT_MISSING
        changed = document(harness)
        del changed["rights"]
        replace_root(changed)
        # Two of the old root and two of the new one, three keys in all.
        send(harness, signed(changed, root(harness, 1), root(harness, 2), new))
        follow(harness, changed["version"])
        # The key that was replaced signs nothing any more, its successor does.
        old = signed(document(harness), root(harness, 1), root(harness, 2))
        assert refusal(send, harness, old) is Reason.THRESHOLD_NOT_MET
        accept(harness, root(harness, 2), new)
        harness.promote("digits", 1)
        # Back again, so that other tests find the roots that they know.
        changed = document(harness)
        changed["root"]["keys"] = [root(harness, n).public.keyid for n in (1, 2, 3)]
        send(harness, signed(changed, root(harness, 2), root(harness, 3)))
        follow(harness, changed["version"])
        before = len(answered)
        deadline = time.monotonic() + 60
        while len(answered) < before + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert not failed
    assert len(answered) > before


def test_who_is_removed_falls_at_once_with_a_token_that_is_cached(harness):
    infer(harness)
    known = person(first_document(harness), "client")["identities"]
    change(harness, lambda changed: person(changed, "client").update(identities=[]))
    assert refusal(infer, harness) is Reason.PRINCIPAL_UNKNOWN
    change(harness, lambda changed: person(changed, "client").update(identities=known))
    infer(harness)


def test_a_role_that_is_taken_away_falls_at_once(harness):
    harness.registry("auditor").GetPointer(LIVE)
    change(harness, lambda changed: person(changed, "auditor").update(roles=["client"]))
    assert refusal(harness.registry("auditor").GetPointer, LIVE) is Reason.ROLE_TOO_LOW
    change(harness, lambda changed: person(changed, "auditor").update(roles=["auditor"]))
    harness.registry("auditor").GetPointer(LIVE)


def test_a_second_answer_log_may_be_added(harness):
    second = vkey("house.localhost/answers-2", PrivateKey.generate().public)
    change(harness, lambda changed: changed["logs"]["answers"].append(second))
    assert harness.gateway.engine.policy_in_force().is_answer_log("house.localhost/answers-2")
    infer(harness)


def test_gateways_follow_within_milliseconds(harness):
    # Seconds are allowed for, on a loaded machine; a policy that waited for upkeep would take more.
    assert min(accept(harness) for _ in range(5)) < 2


class TestRefused:
    def test_without_an_admin(self, harness):
        envelope = signed(document(harness), root(harness, 1), root(harness, 2))
        for who in ("publisher", "approver-1", "auditor", "client"):
            assert refusal(send, harness, envelope, who) is Reason.ROLE_TOO_LOW

    def test_too_few_signatures(self, harness):
        envelope = signed(document(harness), root(harness, 1))
        assert refusal(send, harness, envelope) is Reason.THRESHOLD_NOT_MET

    def test_one_key_twice(self, harness):
        envelope = json.loads(signed(document(harness), root(harness, 1)))
        envelope["signatures"] *= 2
        assert refusal(send, harness, canonical.encode(envelope)) is Reason.DOCUMENT_MALFORMED

    def test_keys_of_no_root(self, harness):
        keys = [PrivateKey.generate(), PrivateKey.generate()]
        envelope = signed(document(harness), *keys)
        assert refusal(send, harness, envelope) is Reason.THRESHOLD_NOT_MET

    def test_a_new_root_that_did_not_sign(self, harness):
        new = [PrivateKey.generate() for _ in range(2)]
        changed = document(harness)
        changed["root"] = {"keys": [key.public.keyid for key in new], "threshold": 2}
        changed["keys"] |= {key.public.keyid: key.public.pem for key in new}
        envelope = signed(changed, root(harness, 1), root(harness, 2), new[0])
        assert refusal(send, harness, envelope) is Reason.THRESHOLD_NOT_MET

    def test_one_person_with_two_root_keys(self, harness):
        changed = document(harness)
        keys = [root(harness, n).public.keyid for n in (1, 2)]
        person(changed, "admin")["keys"] += keys
        envelope = signed(changed, root(harness, 1), root(harness, 2))
        assert refusal(send, harness, envelope) is Reason.POLICY_INVALID

    def test_a_signature_over_something_else(self, harness):
        good = json.loads(signed(document(harness), root(harness, 1), root(harness, 2)))
        payload = canonical.encode(document(harness) | {"expires": "2099-01-01T00:00:00Z"})
        good["payload"] = base64.b64encode(payload).decode()
        assert refusal(send, harness, canonical.encode(good)) is Reason.SIGNATURE_INVALID

    @pytest.mark.parametrize(
        ("step", "reason"),
        [(1, Reason.POLICY_INVALID), (-1, Reason.POLICY_ROLLED_BACK)],
    )
    def test_versions_out_of_order(self, harness, step, reason):
        changed = document(harness)
        envelope = signed(
            changed | {"version": changed["version"] + step}, root(harness, 1), root(harness, 2)
        )
        assert refusal(send, harness, envelope) is reason

    @pytest.mark.parametrize(
        ("reason", "issued", "expires"),
        [(Reason.POLICY_EXPIRED, -2, -1), (Reason.POLICY_INVALID, 1, 2)],
    )
    def test_out_of_its_time(self, harness, reason, issued, expires):
        now = datetime.now(UTC)
        times = {
            "issued": format_time(now + timedelta(days=issued)),
            "expires": format_time(now + timedelta(days=expires)),
        }
        envelope = signed(document(harness) | times, root(harness, 1), root(harness, 2))
        assert refusal(send, harness, envelope) is reason

    def test_another_registry_log(self, harness):
        changed = document(harness)
        changed["logs"]["registry"] = vkey("house.localhost/registry", PrivateKey.generate().public)
        envelope = signed(changed, root(harness, 1), root(harness, 2))
        assert refusal(send, harness, envelope) is Reason.POLICY_INVALID

    def test_without_the_freshness_key(self, harness):
        changed = document(harness)
        person(changed, "freshness")["keys"] = []
        envelope = signed(changed, root(harness, 1), root(harness, 2))
        assert refusal(send, harness, envelope) is Reason.POLICY_INVALID

    @pytest.mark.parametrize("data", [b"", b"{}", b"\x00" * 100])
    def test_no_envelope(self, harness, data):
        assert refusal(send, harness, data) is Reason.DOCUMENT_MALFORMED

    def test_nothing_of_it_was_taken(self, harness):
        chain = harness.registry("admin").GetPolicy(registry_pb2.GetPolicyRequest()).envelopes
        assert len(chain) == harness.gateway.engine.policy_in_force().version
        infer(harness)
