"""A token admits one key, in time, for one recipe at one server; refusals have their reasons."""

import dataclasses
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from training.federated.enrolment import (
    LARGEST_REQUEST,
    EnrolledClient,
    EnrolmentBook,
    FederationInvitation,
    RowShape,
    digest_of,
    new_key,
    new_token,
    public_pem,
)

NOW = datetime(2026, 11, 29, tzinfo=UTC)
UNTIL = NOW + timedelta(hours=1)
RECIPE, AUTHORITY = "[federated]\n", "a certificate"
TOKENS = [new_token() for _ in range(3)]


def invitation(token: str = TOKENS[0], **changed: Any) -> FederationInvitation:
    rows = RowShape((64,), 10, 0.0, 1.0)
    made = FederationInvitation("192.0.2.1:8443", AUTHORITY, token, RECIPE, rows, UNTIL)
    return dataclasses.replace(made, **changed)


def book(now: Callable[[], datetime] = lambda: NOW) -> EnrolmentBook:
    issued = [digest_of(token) for token in TOKENS]
    recipe, server = (sha256(text.encode()) for text in (RECIPE, AUTHORITY))
    return EnrolmentBook(issued, UNTIL, recipe, server, now)


def refused(found: EnrolmentBook, body: bytes) -> Reason:
    before = found.enrolled
    with pytest.raises(SealgateError) as refusal:
        found.enrol(body, lambda _: pytest.fail("admitted"))
    assert found.enrolled == before
    return refusal.value.reason


def changed(body: bytes, **values: Any) -> bytes:
    return canonical.encode(json.loads(body) | values)


def test_each_token_admits_a_client() -> None:
    found, admitted = book(), list[EnrolledClient]()
    bodies = [invitation(token).request(new_key()) for token in reversed(TOKENS)]
    assert not found.closed
    assert [found.enrol(body, admitted.append) for body in bodies] == [0, 1, 2]
    assert list(found.enrolled) == admitted
    assert [one.token for one in admitted] == [digest_of(token) for token in reversed(TOKENS)]
    assert found.closed
    for one in admitted:
        again = EnrolledClient.decode(json.loads(json.dumps(one.encode())))
        again.verify(sha256(RECIPE.encode()), sha256(AUTHORITY.encode()))


def test_tokens_have_256_bits_and_are_kept_as_digests() -> None:
    assert len(set(TOKENS)) == 3
    assert {len(token) for token in TOKENS} == {43}
    found, key = book(), new_key()
    found.enrol(invitation().request(key), lambda _: None)
    assert not any(token in repr(found.enrolled) for token in TOKENS)


@pytest.mark.parametrize(
    "token",
    ["", "x" * 43, digest_of(TOKENS[0]), TOKENS[0][:-1]],
    ids=["empty", "invented", "digest", "shortened"],
)
def test_a_token_that_was_not_issued_is_refused(token: str) -> None:
    body = changed(invitation().request(new_key()), token=token)
    assert refused(book(), body) is Reason.ENROLMENT_TOKEN


def test_a_token_expires() -> None:
    clock = [UNTIL - timedelta(seconds=1)]
    found, key = book(lambda: clock[0]), new_key()
    found.enrol(invitation().request(key), lambda _: None)
    clock[0] = UNTIL
    assert found.closed
    for body in (invitation().request(key), invitation(TOKENS[1]).request(new_key())):
        assert refused(found, body) is Reason.ENROLMENT_EXPIRED


def test_a_token_is_bound_to_the_key_that_used_it() -> None:
    found, key = book(), new_key()
    admitted: list[EnrolledClient] = []
    assert found.enrol(invitation().request(key), admitted.append) == 0
    assert refused(found, invitation().request(new_key())) is Reason.ENROLMENT_USED
    # An answer may have been lost: the same key asks again, and nothing changes.
    assert found.enrol(invitation().request(key), admitted.append) == 0
    assert len(admitted) == len(found.enrolled) == 1


def test_of_many_who_use_a_token_at_once_one_gets_in() -> None:
    found = book()
    bodies = [invitation().request(new_key()) for _ in range(16)]

    def attempt(body: bytes) -> Reason | None:
        try:
            found.enrol(body, lambda _: None)
        except SealgateError as refusal:
            return refusal.reason
        return None

    with ThreadPoolExecutor(16) as threads:
        said = list(threads.map(attempt, bodies))
    assert said.count(None) == 1
    assert said.count(Reason.ENROLMENT_USED) == 15


def test_a_key_enrols_once() -> None:
    found, key = book(), new_key()
    found.enrol(invitation().request(key), lambda _: None)
    assert refused(found, invitation(TOKENS[1]).request(key)) is Reason.ENROLMENT_KEY


def spelt(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "not a key",
        spelt(ec.generate_private_key(ec.SECP256R1())),
        spelt(ed25519.Ed25519PrivateKey.generate()),
        public_pem(new_key()).replace("\n", "\r\n"),
        # Another's key, which did not sign.
        public_pem(new_key()),
    ],
)
def test_another_key_than_the_signers_is_refused(key: str) -> None:
    body = changed(invitation().request(new_key()), key=key)
    found = book()
    assert refused(found, body) is Reason.ENROLMENT_KEY
    # The token is not used up.
    assert found.enrol(invitation().request(new_key()), lambda _: None) == 0


def test_a_signature_for_another_token_server_or_recipe_is_refused() -> None:
    key = new_key()
    own = json.loads(invitation().request(key))
    for other in (
        invitation(TOKENS[1]),
        invitation(authority="another"),
        invitation(recipe="another"),
    ):
        theirs = json.loads(other.request(key))
        body = changed(canonical.encode(own), signature=theirs["signature"])
        assert refused(book(), body) is Reason.ENROLMENT_KEY


def test_another_recipe_is_refused() -> None:
    body = invitation(recipe="[federated]\nrounds = 99\n").request(new_key())
    assert refused(book(), body) is Reason.ENROLMENT_RECIPE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        json.dumps(json.loads(invitation().request(new_key()))).encode(),
        changed(invitation().request(new_key()), more=1),
        changed(invitation().request(new_key()), token=7),
        changed(invitation().request(new_key()), signature="*"),
    ],
)
def test_other_documents_are_refused(body: bytes) -> None:
    assert refused(book(), body) is Reason.DOCUMENT_MALFORMED


def test_large_requests_are_refused_unread() -> None:
    assert refused(book(), b"[" * (LARGEST_REQUEST + 1)) is Reason.MESSAGE_TOO_LARGE


def test_where_admission_fails_nobody_has_enrolled() -> None:
    def fail(_: EnrolledClient) -> None:
        raise BrokenPipeError

    found, body = book(), invitation().request(new_key())
    with pytest.raises(BrokenPipeError):
        found.enrol(body, fail)
    assert found.enrolled == ()
    assert found.enrol(body, lambda _: None) == 0


def test_an_invitation_reads_back() -> None:
    made = invitation()
    assert FederationInvitation.decode(made.encode()) == made
    boundless = invitation(rows=RowShape((28, 28), 2, -3e38, 3e38))
    assert FederationInvitation.decode(boundless.encode()) == boundless


@pytest.mark.parametrize(
    "values",
    [
        {"type": "another"},
        {"more": 1},
        {"rows": {}},
        {"rows": {"row": [0], "classes": 10, "least": 0, "most": 1}},
        {"rows": {"row": [64], "classes": 1, "least": 0, "most": 1}},
        {"rows": {"row": [64], "classes": 10, "least": "0", "most": 1}},
        {"rows": {"row": [64], "classes": 10, "least": True, "most": 1}},
        {"until": "tomorrow"},
    ],
)
def test_other_invitations_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as refusal:
        FederationInvitation.decode(changed(invitation().encode(), **values))
    assert refusal.value.reason is Reason.DOCUMENT_MALFORMED
