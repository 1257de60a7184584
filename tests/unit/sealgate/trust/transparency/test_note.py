"""Signed notes, checkpoints and tlog-proofs."""

import pytest

from sealgate.reasons import Reason
from sealgate.trust.transparency import (
    Checkpoint,
    TlogProof,
    merkle,
    open_checkpoint,
    sign_checkpoint,
)
from sealgate.trust.transparency.checkpoint import WitnessKey
from sealgate.trust.transparency.note import Verifier, open_note, sign_note, vkey
from tests.support.builders.documents.people import key, p256_key, refused

NAME = "example.org/log"
LOG = key("log")
VKEY = vkey(NAME, LOG.public)
VERIFIER = Verifier.from_vkey(VKEY)
NOTE = sign_note("text\n\nmore\n", NAME, LOG)
CHECKPOINT = Checkpoint(NAME, 5, merkle.EMPTY_ROOT)
SIGNED = sign_checkpoint(CHECKPOINT, LOG)
PROOF = TlogProof(3, (bytes(32), b"\xff" * 32), SIGNED)


def test_a_note_opens() -> None:
    assert open_note(NOTE, [VERIFIER]) == "text\n\nmore\n"


def test_the_known_key_of_the_go_documentation() -> None:
    """The example key of golang.org/x/mod/sumdb/note: its hint is over name and key."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    verifier = Verifier.from_vkey(text)
    assert vkey("PeterNeumann", verifier.key) == text
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
        "qdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert open_note(note, [verifier]).startswith("If you think")


def test_other_signatures_are_allowed_beside_a_known_one() -> None:
    witnessed = NOTE + sign_note("text\n\nmore\n", "witness", key("witness")).split("\n\n")[-1]
    assert open_note(witnessed, [VERIFIER]) == "text\n\nmore\n"
    with refused(Reason.SIGNATURE_INVALID):
        open_note(witnessed, [])


def test_forged_notes_are_refused() -> None:
    other = Verifier.from_vkey(vkey(NAME, key("other").public))
    renamed = Verifier.from_vkey(vkey("example.org/other", LOG.public))
    altered = NOTE.replace("more", "less")
    for note, verifier in [(altered, VERIFIER), (NOTE, other), (NOTE, renamed)]:
        with refused(Reason.SIGNATURE_INVALID):
            open_note(note, [verifier])


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "text\n",
        "text\n\n",
        NOTE[:-1],
        NOTE + "\n",
        NOTE + NOTE.split("\n\n")[-1],
        NOTE.replace("\u2014", "-"),
        NOTE.replace("\u2014 ", "\u2014  "),
        NOTE.replace("more", "mo\rre"),
        NOTE.replace("more", "mo\x00re"),
        "text\n\n\u2014 name AAAA\n",
        "text\n\n\u2014 name AAAAAAA\n",
        "text\n\n" + "\u2014 name AAAAAAAA\n" * 101,
    ],
)
def test_other_forms_of_note_are_refused(note: str) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        open_note(note, [VERIFIER])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        VKEY.upper(),
        VKEY.replace(NAME, "example.org/other"),
        VKEY[:-4],
        VKEY + "AAAA",
        "a" + VKEY,
        VKEY.replace("+A", "+B", 1),
    ],
)
def test_other_forms_of_verifier_key_are_refused(text: str) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        Verifier.from_vkey(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "a" * 256])
def test_names_that_a_note_cannot_hold_are_refused(name: str) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        vkey(name, LOG.public)
    with refused(Reason.DOCUMENT_MALFORMED):
        sign_note("text\n", name, LOG)
    with refused(Reason.DOCUMENT_MALFORMED):
        Checkpoint(name, 0, merkle.EMPTY_ROOT)


def test_notes_are_signed_with_ed25519_and_end_their_line() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        vkey(NAME, p256_key("log").public)
    with refused(Reason.DOCUMENT_MALFORMED):
        sign_note("text", NAME, LOG)


def test_a_checkpoint_opens() -> None:
    assert open_checkpoint(SIGNED, VKEY) == CHECKPOINT
    assert Checkpoint.parse(CHECKPOINT.text()) == CHECKPOINT
    assert CHECKPOINT.text() == (
        "example.org/log\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    )


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = sign_note(CHECKPOINT.text().replace("/log", "/other"), NAME, LOG)
    with refused(Reason.LOG_INCONSISTENT):
        open_checkpoint(other, VKEY)
    with refused(Reason.SIGNATURE_INVALID):
        open_checkpoint(SIGNED.replace("\n5\n", "\n6\n"), VKEY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n5\n", "\n05\n"),
        ("\n5\n", "\n+5\n"),
        ("\n5\n", "\n-5\n"),
        ("\n5\n", "\n\u0665\n"),
        ("\n5\n", "\n" + "9" * 5000 + "\n"),
        ("\n5\n", "\n5\nextension\n"),
        ("uFU=", "uFV="),
        ("uFU=", "uFU"),
        ("47DE", ""),
        ("example.org/log", ""),
        ("FU=\n", "FU="),
    ],
)
def test_other_forms_of_checkpoint_are_refused(old: str, new: str) -> None:
    text = CHECKPOINT.text()
    assert old in text
    with refused(Reason.DOCUMENT_MALFORMED):
        Checkpoint.parse(text.replace(old, new, 1))


def test_a_proof_reads_back() -> None:
    assert TlogProof.decode(PROOF.encode()) == PROOF
    short = TlogProof(0, (), SIGNED)
    assert short.encode() == f"c2sp.org/tlog-proof@v1\nindex 0\n\n{SIGNED}"
    assert TlogProof.decode(short.encode()) == short


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("proof@v1", "proof@v2"),
        ("index 3", "index 03"),
        ("index 3", "index -3"),
        ("index 3", "index 3\nextra AA=="),
        ("index 3", "index \u0663"),
        ("index 3", "index " + "9" * 17),
        ("index 3\n", ""),
        ("AAA=\n", "AAA\n"),
        ("AAA=\n", "AAB=\n"),
        ("index 3\n", "index 3\n" + "A" * 43 + "=\n" + "AAAA\n"),
    ],
)
def test_other_forms_of_proof_are_refused(old: str, new: str) -> None:
    assert old in PROOF.encode()
    with refused(Reason.DOCUMENT_MALFORMED):
        TlogProof.decode(PROOF.encode().replace(old, new, 1))


def test_a_proof_is_no_higher_than_a_tree() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        TlogProof(0, (bytes(32),) * 65, SIGNED)
    with refused(Reason.DOCUMENT_MALFORMED):
        TlogProof(-1, (), SIGNED)


def test_half_a_surrogate_pair_is_no_character_of_a_note() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        Verifier.from_vkey(VKEY.replace("log", "l\udc80g", 1))
    with refused(Reason.DOCUMENT_MALFORMED):
        open_checkpoint(SIGNED.replace("example", "ex\ud800mple", 1), VKEY)
    with refused(Reason.DOCUMENT_MALFORMED):
        WitnessKey.of("witness\udcff", key("anna").public)
