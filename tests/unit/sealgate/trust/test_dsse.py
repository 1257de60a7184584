from dataclasses import replace

import pytest

from sealgate.reasons import Reason
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from tests.support.builders.documents.people import key, p256_key, refused

TYPE = "application/example"
A, B, C = key("a"), key("b"), p256_key("c")
KEYS = {signer.public.keyid: signer.public for signer in (A, B, C)}
SIGNED = dsse.sign(TYPE, b"payload", A, C)


def test_the_encoding_that_is_signed() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert dsse.pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_an_envelope_reads_back_and_verifies() -> None:
    envelope = Envelope.decode(SIGNED.encode())
    assert envelope == SIGNED
    expected = {A.public.keyid, C.public.keyid}
    assert dsse.verify(envelope, TYPE, KEYS, threshold=2) == expected


def test_people_sign_one_after_the_other() -> None:
    envelope = dsse.add_signature(dsse.sign(TYPE, b"payload", A), B)
    assert envelope.payload == SIGNED.payload
    assert len(dsse.verify(envelope, TYPE, KEYS, threshold=2)) == 2


def test_one_key_does_not_count_twice() -> None:
    again = (A.public.keyid, A.sign(dsse.pae(TYPE, b"payload")))
    with refused(Reason.DOCUMENT_MALFORMED):
        replace(SIGNED, signatures=(again, again))
    with refused(Reason.DOCUMENT_MALFORMED):
        dsse.sign(TYPE, b"payload", A, A)
    # Not even under two ids, should a caller's mapping have it so.
    twice = Envelope(TYPE, b"payload", (again, ("alias", again[1])))
    with refused(Reason.THRESHOLD_NOT_MET):
        dsse.verify(twice, TYPE, {**KEYS, "alias": A.public}, threshold=2)


def test_strangers_count_for_nothing() -> None:
    envelope = dsse.sign(TYPE, b"payload", A, key("stranger"))
    assert dsse.verify(envelope, TYPE, KEYS) == {A.public.keyid}
    with refused(Reason.THRESHOLD_NOT_MET):
        dsse.verify(envelope, TYPE, KEYS, threshold=2)
    with refused(Reason.THRESHOLD_NOT_MET):
        dsse.verify(envelope, TYPE, {})


def test_a_threshold_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="threshold"):
        dsse.verify(SIGNED, TYPE, KEYS, threshold=0)


@pytest.mark.parametrize(
    "forged",
    [
        replace(SIGNED, payload=b"poyload"),
        replace(SIGNED, payload_type="application/other"),
        replace(SIGNED, signatures=((A.public.keyid, b"x" * 64),)),
        replace(SIGNED, signatures=(SIGNED.signatures[0], (B.public.keyid, b""))),
        replace(SIGNED, signatures=((B.public.keyid, SIGNED.signatures[0][1]),)),
    ],
)
def test_forgeries_are_refused(forged: Envelope) -> None:
    with refused(Reason.SIGNATURE_INVALID):
        dsse.verify(forged, forged.payload_type, KEYS)


def test_a_document_signed_as_one_type_is_not_another() -> None:
    with refused(Reason.SIGNATURE_INVALID):
        dsse.verify(SIGNED, "application/other", KEYS)


def test_unsigned_and_overfull_envelopes_are_refused() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        Envelope(TYPE, b"payload", ())
    with refused(Reason.DOCUMENT_MALFORMED):
        Envelope(TYPE, b"payload", tuple((str(n), b"") for n in range(33)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"payload":', b'"extra":1,"payload":'),
        (b'"payloadType":"application/example",', b""),
        (b'"payload":"cGF5bG9hZA=="', b'"payload":"cGF5bG9hZA"'),
        (b'"payload":"cGF5bG9hZA=="', b'"payload":7'),
        (b'{"keyid"', b'{"cert":"","keyid"'),
        (b":[{", b": [{"),
    ],
)
def test_other_forms_of_envelope_are_refused(old: bytes, new: bytes) -> None:
    assert old in SIGNED.encode()
    with refused(Reason.DOCUMENT_MALFORMED):
        Envelope.decode(SIGNED.encode().replace(old, new, 1))
