"""Cosignatures: what counts as a witness's word on a checkpoint."""

import pytest

from sealgate.reasons import Reason
from sealgate.trust.transparency import Checkpoint, note, sign_checkpoint
from sealgate.trust.transparency.checkpoint import WitnessKey, cosign, cosignatures
from tests.support.builders.documents.people import ANSWER_LOG, key, p256_key, refused

CHECKPOINT = Checkpoint(ANSWER_LOG, 7, bytes(32))
SIGNED = sign_checkpoint(CHECKPOINT, key("answer-log"))
WITNESS = WitnessKey.of("witness.example", key("witness").public)


def line(who: str = "witness", text: str = CHECKPOINT.text(), time: int = 1_700_000_000) -> str:
    return cosign(text, "witness.example", key(who), time)


def test_a_cosignature_tells_who_and_when() -> None:
    (found,) = cosignatures(SIGNED + line(), (WITNESS,))
    assert (found.witness, found.time) == ("witness.example", 1_700_000_000)
    assert found.line + "\n" == line()


def test_lines_of_others_count_for_nothing() -> None:
    assert cosignatures(SIGNED + line("mallory"), (WITNESS,)) == []
    assert cosignatures(SIGNED, (WITNESS,)) == []


def test_a_line_over_another_checkpoint_is_refused() -> None:
    other = Checkpoint(ANSWER_LOG, 8, bytes(32))
    with refused(Reason.SIGNATURE_INVALID):
        cosignatures(SIGNED + line(text=other.text()), (WITNESS,))


def test_a_log_signature_is_no_cosignature() -> None:
    """One key, the other type: the time is part of what is signed."""
    as_log = sign_checkpoint(CHECKPOINT, key("witness")).splitlines()[-1]
    hint = WITNESS.hint.hex()
    forged = note.read_line(as_log)
    assert forged[1].hex() != hint
    assert cosignatures(SIGNED + as_log + "\n", (WITNESS,)) == []


def test_two_lines_of_one_key_are_refused() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        cosignatures(SIGNED + line() + line(time=5), (WITNESS,))


def test_a_truncated_line_is_refused() -> None:
    short = line().strip().rpartition(" ")
    with refused(Reason.SIGNATURE_INVALID):
        cosignatures(f"{SIGNED}{short[0]} {short[2][:40]}\n", (WITNESS,))


def test_verifier_keys_come_back_as_they_were() -> None:
    assert WitnessKey.from_vkey(WITNESS.vkey) == WITNESS


@pytest.mark.parametrize(
    "text",
    [
        note.vkey("witness.example", key("witness").public),
        WITNESS.vkey.replace("witness.example", "other.example"),
        "witness.example",
        "",
    ],
)
def test_other_verifier_keys_are_refused(text: str) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        WitnessKey.from_vkey(text)


def test_a_witness_signs_with_ed25519_alone() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        WitnessKey.of("witness.example", p256_key("witness").public)
