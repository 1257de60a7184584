"""ML-DSA-44 beside Ed25519 on checkpoints (C2SP tlog-cosignature, type 0x06)."""

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from sealgate.reasons import Reason
from sealgate.trust.policy import Policy, next_policy
from sealgate.trust.transparency import (
    Checkpoint,
    log_vkey,
    ml_dsa,
    note,
    open_checkpoint,
    sign_checkpoint,
)
from sealgate.trust.transparency.ml_dsa import Cosigner, LogCosigners, MlDsaKey, PairedSigner
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    NOW,
    REGISTRY_LOG,
    key,
    make_policy,
    refused,
    sign_policy,
)

ORIGIN = "example.org/log"
BESIDE = MlDsaKey.generate()
PAIR = PairedSigner(key("log"), BESIDE)
BOTH = log_vkey(ORIGIN, PAIR)
CHECKPOINT = Checkpoint(ORIGIN, 70000, bytes(range(32)))
SIGNED = sign_checkpoint(CHECKPOINT, PAIR)


def test_both_sign_and_both_must() -> None:
    assert open_checkpoint(SIGNED, BOTH) == CHECKPOINT
    with refused(Reason.SIGNATURE_INVALID):
        open_checkpoint(sign_checkpoint(CHECKPOINT, key("log")), BOTH)
    other = PairedSigner(key("log"), MlDsaKey.generate())
    with refused(Reason.SIGNATURE_INVALID):
        open_checkpoint(sign_checkpoint(CHECKPOINT, other), BOTH)
    with refused(Reason.SIGNATURE_INVALID):
        open_checkpoint(sign_checkpoint(CHECKPOINT, PairedSigner(key("thief"), BESIDE)), BOTH)


def test_whoever_knows_ed25519_alone_reads_it_too() -> None:
    assert open_checkpoint(SIGNED, note.vkey(ORIGIN, key("log").public)) == CHECKPOINT


def test_a_line_over_another_checkpoint() -> None:
    """Ed25519 is right and the ML-DSA line is a genuine one, of another size."""
    older = sign_checkpoint(replace(CHECKPOINT, size=69999), PAIR)
    line = older.splitlines()[-1]
    mixed = sign_checkpoint(CHECKPOINT, key("log")) + line + "\n"
    with refused(Reason.SIGNATURE_INVALID):
        open_checkpoint(mixed, BOTH)


def test_the_bytes_are_the_specifications() -> None:
    """Put together here from its text, field by field."""
    name, hint, encoded = BOTH.split(" ")[1].split("+", 2)
    public = base64.b64decode(encoded)
    assert (name, public[0], len(public)) == (ORIGIN, 6, 1 + 1312)
    assert hint == hashlib.sha256(ORIGIN.encode() + b"\n" + public).hexdigest()[:8]
    data = base64.b64decode(SIGNED.splitlines()[-1].split(" ")[2])
    assert (data[:4].hex(), data[4:12], len(data)) == (hint, bytes(8), 4 + 8 + 2420)
    origin = bytes([len(ORIGIN)]) + ORIGIN.encode()
    message = b"subtree/v1\n\x00" + origin + (0).to_bytes(8, "big") + origin
    message += (0).to_bytes(8, "big") + (70000).to_bytes(8, "big") + bytes(range(32))
    MLDSA44PublicKey.from_public_bytes(public[1:]).verify(data[12:], message)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ORIGIN,
        note.vkey(ORIGIN, key("log").public),
        BOTH.split(" ")[1].replace("+", "+0", 1),
        BOTH.split(" ")[1].replace(ORIGIN, "example.org/other"),
        ml_dsa.vkey(ORIGIN, BESIDE.raw[:-1]),
    ],
)
def test_what_is_no_verifier_key(text: str) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        Cosigner.from_vkey(text)


def test_keys_read_back() -> None:
    assert MlDsaKey.from_pem(BESIDE.to_pem()).raw == BESIDE.raw
    for other in (key("log").to_pem(), b"nothing"):
        with refused(Reason.KEY_UNREADABLE):
            MlDsaKey.from_pem(other)


def test_a_policy_asks_for_both() -> None:
    line = ml_dsa.vkey(ANSWER_LOG, BESIDE.raw)
    policy = make_policy(ml_dsa=LogCosigners({ANSWER_LOG: line}))
    assert Policy.decode(policy.encode()) == policy
    pair = PairedSigner(key("answer-log"), BESIDE)
    assert policy.log_key(ANSWER_LOG) == log_vkey(ANSWER_LOG, pair)
    assert policy.log_key(REGISTRY_LOG) == policy.registry_log
    assert policy.is_answer_log(ANSWER_LOG)
    checkpoint = Checkpoint(ANSWER_LOG, 3, bytes(32))
    with refused(Reason.SIGNATURE_INVALID):
        open_checkpoint(sign_checkpoint(checkpoint, key("answer-log")), policy.log_key(ANSWER_LOG))
    assert open_checkpoint(sign_checkpoint(checkpoint, pair), policy.log_key(ANSWER_LOG))
    next_policy(make_policy(), sign_policy(replace(policy, version=2)), NOW)
    with refused(Reason.DOCUMENT_MALFORMED):
        LogCosigners({REGISTRY_LOG: line})
    other = ml_dsa.vkey("example.org/other", BESIDE.raw)
    with refused(Reason.POLICY_INVALID):
        make_policy(ml_dsa=LogCosigners({"example.org/other": other}))
