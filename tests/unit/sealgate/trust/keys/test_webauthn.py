"""Assertions of passkeys: W3C's test vectors, another library's judgement, and every refusal."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from webauthn import verify_authentication_response
from webauthn.helpers.exceptions import WebAuthnException

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys.cose import CoseKey
from sealgate.trust.keys.webauthn import Assertion, Passkey, check_counter
from tests.support.builders.documents.authenticator import (
    ALGORITHMS,
    ORIGIN,
    PRESENT,
    RP_ID,
    VERIFIED,
    Authenticator,
)
from tests.support.builders.documents.people import refused

W3C = json.loads((Path(__file__).parents[4] / "vectors" / "webauthn.json").read_text())
ANNA = Authenticator("anna")
MESSAGE = b"DSSEv1 a statement"
CHALLENGE = hashlib.sha256(MESSAGE).digest()


def read(vector: dict[str, str], name: str) -> bytes:
    return bytes.fromhex(vector[name])


@pytest.mark.parametrize("vector", W3C["vectors"], ids=lambda vector: vector["name"])
class TestVectors:
    def test_is_judged_as_its_flags_and_origin_say(self, vector: dict[str, str]) -> None:
        if not vector["refused"]:
            answered = self.verify(vector)
            assert answered.origin == W3C["origin"]
            return
        with refused(Reason[vector["refused"]]):
            self.verify(vector)

    def test_its_signature_verifies(self, vector: dict[str, str]) -> None:
        if vector["refused"] == "DOCUMENT_MALFORMED":
            return
        key = CoseKey.decode(read(vector, "cose_key"))
        hashed = hashlib.sha256(read(vector, "clientDataJSON")).digest()
        message = read(vector, "authenticatorData") + hashed
        key.verify(read(vector, "signature"), message)
        with refused(Reason.SIGNATURE_INVALID):
            key.verify(read(vector, "signature"), message[:-1] + b"?")

    def verify(self, vector: dict[str, str]) -> Assertion:
        key = CoseKey.decode(read(vector, "cose_key"))
        passkey = Passkey(key, read(vector, "credential"), W3C["rp_id"], (W3C["origin"],))
        parts = ("authenticatorData", "clientDataJSON", "signature")
        assertion = Assertion(*(read(vector, name) for name in parts))
        return passkey.verify_challenge(assertion.encode(), read(vector, "challenge"))


# Ways in which an assertion is not what it should be, with the reason for which it is refused.
WRONG: dict[str, tuple[Reason, dict[str, Any]]] = {
    "another document": (Reason.WEBAUTHN_CHALLENGE, {"challenge": "AAAA"}),
    "an enrolment": (Reason.WEBAUTHN_TYPE, {"type": "webauthn.create"}),
    "another origin": (Reason.WEBAUTHN_ORIGIN, {"origin": "https://console.example.com"}),
    "another port": (Reason.WEBAUTHN_ORIGIN, {"origin": ORIGIN + ":8443"}),
    "no text as origin": (Reason.WEBAUTHN_ORIGIN, {"origin": [ORIGIN]}),
    "another RP id": (Reason.WEBAUTHN_RP_ID, {"rp_id": "example.org"}),
    "nobody present": (Reason.WEBAUTHN_USER, {"flags": VERIFIED}),
    "nobody verified": (Reason.WEBAUTHN_USER, {"flags": PRESENT}),
    "another message signed": (Reason.SIGNATURE_INVALID, {"signed": MESSAGE}),
    "backed up without leave": (Reason.WEBAUTHN_MALFORMED, {"flags": 0x15}),
    "surplus data": (Reason.WEBAUTHN_MALFORMED, {"extra": b"\xa0"}),
    "missing extensions": (Reason.WEBAUTHN_MALFORMED, {"flags": 0x85}),
}
# Cases that only we refuse: the oracle leaves frames to its caller.
OURS: dict[str, dict[str, Any]] = {
    "a frame of another origin": {"crossOrigin": True},
    "a page above": {"topOrigin": ORIGIN},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_signs(algorithm: str) -> None:
    authenticator = Authenticator("anna", algorithm)
    signature = authenticator.sign(MESSAGE, counter=7)
    authenticator.passkey.verify(signature, MESSAGE)
    assert Assertion.decode(signature).counter == 7
    with refused(Reason.WEBAUTHN_CHALLENGE):
        authenticator.passkey.verify(signature, MESSAGE + b"!")
    other = Authenticator("arne", "eddsa" if algorithm == "rs256" else algorithm)
    with refused(Reason.SIGNATURE_INVALID):
        other.passkey.verify(signature, MESSAGE)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_here_and_by_the_oracle(name: str) -> None:
    reason, changes = WRONG[name]
    with refused(reason):
        ANNA.passkey.verify(ANNA.sign(MESSAGE, **changes), MESSAGE)
    if name not in ("surplus data", "missing extensions", "no text as origin"):
        assert not accepted(ANNA.answer(CHALLENGE, **changes))


@pytest.mark.parametrize("name", OURS)
def test_a_page_within_another_is_refused(name: str) -> None:
    with refused(Reason.WEBAUTHN_ORIGIN):
        ANNA.passkey.verify(ANNA.sign(MESSAGE, **OURS[name]), MESSAGE)


def test_the_oracle_accepts_what_we_accept() -> None:
    for algorithm in ALGORITHMS:
        authenticator = Authenticator("anna", algorithm)
        assert accepted(authenticator.answer(CHALLENGE), authenticator.passkey)


def accepted(assertion: Assertion, passkey: Passkey = ANNA.passkey) -> bool:
    """Whether another library takes an assertion."""
    credential = _base64url(passkey.credential)
    try:
        verify_authentication_response(
            credential={
                "id": credential,
                "rawId": credential,
                "type": "public-key",
                "response": {
                    "authenticatorData": _base64url(assertion.authenticator_data),
                    "clientDataJSON": _base64url(assertion.client_data),
                    "signature": _base64url(assertion.signature),
                },
            },
            expected_challenge=CHALLENGE,
            expected_rp_id=RP_ID,
            expected_origin=ORIGIN,
            credential_public_key=passkey.key.data,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except WebAuthnException:
        return False
    return True


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"type":1,"type":1}', b"[" * 5000])
def test_client_data_of_another_form(data: bytes) -> None:
    assertion = replace(ANNA.answer(CHALLENGE), client_data=data)
    with refused(Reason.WEBAUTHN_MALFORMED):
        ANNA.passkey.verify(assertion.encode(), MESSAGE)


def test_authenticator_data_cut_short() -> None:
    assertion = ANNA.answer(CHALLENGE)
    cut = replace(assertion, authenticator_data=assertion.authenticator_data[:36])
    with refused(Reason.WEBAUTHN_MALFORMED):
        ANNA.passkey.verify(cut.encode(), MESSAGE)


@pytest.mark.parametrize("signature", [b"", b"{}", b"\x30\x45", b'{"type":"x"}', b"[" * 20000])
def test_a_signature_that_is_no_assertion(signature: bytes) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        ANNA.passkey.verify(signature, MESSAGE)


def test_a_counter_must_grow_where_there_is_one() -> None:
    check_counter(0, 0)
    check_counter(0, 1)
    check_counter(4, 9)
    for last, counter in ((4, 4), (4, 3), (4, 0)):
        with refused(Reason.WEBAUTHN_COUNTER):
            check_counter(last, counter)


class TestPasskey:
    def test_is_read_as_it_was_written(self) -> None:
        assert Passkey.from_json(ANNA.passkey.to_json()) == ANNA.passkey

    @pytest.mark.parametrize(
        "changes",
        [
            {"user_verification": "preferred"},
            {"rp_id": "https://example.org"},
            {"origins": []},
            {"origins": [ORIGIN, ORIGIN]},
            {"origins": ["http://example.org"]},
            {"origins": ["*"]},
            {"credential": ""},
            {"cose_key": "oA=="},
            {"more": 1},
        ],
    )
    def test_of_another_form(self, changes: dict[str, Any]) -> None:
        with refused(Reason.DOCUMENT_MALFORMED):
            Passkey.from_json(ANNA.passkey.to_json() | changes)

    def test_may_be_used_by_a_program(self) -> None:
        native = replace(ANNA.passkey, origins=("sealgate:cli",))
        native.verify(ANNA.sign(MESSAGE, origin="sealgate:cli"), MESSAGE)


@contextmanager
def suppress_malformed() -> Iterator[None]:
    """Let DOCUMENT_MALFORMED pass, and nothing else."""
    try:
        yield
    except SealgateError as refusal:
        if refusal.reason is not Reason.DOCUMENT_MALFORMED:
            raise


class TestCoseKey:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_no_other_bytes_are_a_key(self, algorithm: str) -> None:
        """A changed byte or a shorter key makes another key or none."""
        data = Authenticator("anna", algorithm).passkey.key.data
        keyids = []
        for place in range(min(len(data), 90)):
            flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            with suppress_malformed():
                keyids.append(CoseKey.decode(flipped).keyid)
            with refused(Reason.DOCUMENT_MALFORMED):
                CoseKey.decode(data[:place])
        assert CoseKey.decode(data).keyid not in keyids
        with refused(Reason.DOCUMENT_MALFORMED):
            CoseKey.decode(data + b"\x00")

    def test_a_longer_spelling_is_refused(self) -> None:
        data = ANNA.passkey.key.data
        assert data[:3] == b"\xa5\x01\x02"
        with refused(Reason.DOCUMENT_MALFORMED):
            CoseKey.decode(b"\xa5\x01\x18\x02" + data[3:])
        with refused(Reason.DOCUMENT_MALFORMED):
            CoseKey.decode(b"\xb8\x05" + data[1:])
