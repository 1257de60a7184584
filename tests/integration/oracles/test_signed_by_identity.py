"""A folder that a Sigstore identity signed is verified offline, by the root that a policy pins."""

import json
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from publishing.ready.model_signature import TrustedSigners, verified_signer
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.policy import SigstoreIdentity
from tests.support.builders.documents.people import p256_key, refused
from tests.support.builders.documents.sigstore_instance import (
    SIGNED,
    SigstoreInstance,
    model_statement,
)
from tests.support.oracles import programs

FILES = {"MLmodel": b"flavors: {onnx: {data: data/model.onnx}}\n", "data/model.onnx": b"\x08\x09"}
SIG = "model.sig"
WHO, ISSUER = "release@lab.example", "https://accounts.lab.example"
WORKFLOW = "https://code.example/lab/credit/.workflows/release.yml@refs/heads/main"
INSTANCE, OTHER = SigstoreInstance(), SigstoreInstance()
ROOT = INSTANCE.root


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    programs.package("sigstore")

    def refuse(*words: Any, **named: Any) -> None:
        raise AssertionError("verifying asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def listed(
    identity: str = WHO, issuer: str = ISSUER, root: bytes = ROOT, given: bytes | None = ROOT
) -> TrustedSigners:
    """The policy's signers, and the root that the publisher has."""
    signers = {
        "vendor": p256_key("paula").public,
        "lab": SigstoreIdentity(identity, issuer, sha256(root)),
    }
    return TrustedSigners(signers, {} if given is None else {sha256(given): given})


def signed(**changes: Any) -> dict[str, Any]:
    options = {"identity": WHO, "issuer": ISSUER} | changes
    return INSTANCE.bundle(model_statement(FILES), **options)


def told(bundle: dict[str, Any], signers: TrustedSigners) -> str | None:
    return verified_signer(FILES | {SIG: json.dumps(bundle).encode()}, signers)


@pytest.mark.parametrize("identity", [WHO, WORKFLOW])
def test_an_identity_that_is_listed_is_named_in_the_evidence(identity: str) -> None:
    found = told(signed(identity=identity), listed(identity))
    assert found == f"verified: {SIG} by lab, {identity} of {ISSUER}, root {sha256(ROOT)}"


def test_of_two_roots_of_one_identity_that_at_hand_counts() -> None:
    older = SigstoreIdentity(WHO, ISSUER, sha256(OTHER.root))
    newer = SigstoreIdentity(WHO, ISSUER, sha256(ROOT))
    signers = TrustedSigners({"lab-2025": older, "lab": newer}, {sha256(ROOT): ROOT})
    assert str(told(signed(), signers)).startswith(f"verified: {SIG} by lab, ")


@pytest.mark.parametrize(
    ("signers", "detail"),
    [
        (TrustedSigners({}), "the policy lists none"),
        (TrustedSigners({"vendor": p256_key("paula").public}), "the policy lists none"),
        (listed(identity="other@lab.example"), "none of the identities lab"),
        (listed(issuer="https://accounts.other.example"), "none of the identities lab"),
        (listed(given=None), "--trusted-root"),
        (listed(given=OTHER.root), "--trusted-root"),
    ],
)
def test_an_identity_that_does_not_count_refuses(signers: TrustedSigners, detail: str) -> None:
    with refused(Reason.SIGNER_MISMATCH) as found:
        told(signed(), signers)
    assert detail in found.value.detail


def by_other_authority() -> SigstoreInstance:
    """One that claims the identity, and logs where our instance does."""
    return SigstoreInstance(certificate_log=INSTANCE.certificate_log, log=INSTANCE.log)


WRONG: dict[str, Callable[[], dict[str, Any]]] = {
    "another instance": lambda: OTHER.bundle(model_statement(FILES), WHO, ISSUER),
    "another authority": lambda: by_other_authority().bundle(model_statement(FILES), WHO, ISSUER),
    "another certificate log": lambda: SigstoreInstance(
        INSTANCE.authority, OTHER.certificate_log, INSTANCE.log
    ).bundle(model_statement(FILES), WHO, ISSUER),
    "another log": lambda: SigstoreInstance(
        INSTANCE.authority, INSTANCE.certificate_log, OTHER.log
    ).bundle(model_statement(FILES), WHO, ISSUER),
    "after the certificate ended": lambda: signed(logged=SIGNED + timedelta(hours=1)),
    "before it began": lambda: signed(logged=SIGNED - timedelta(hours=1)),
    "another statement was logged": lambda: signed(logged_statement=b"{}"),
    "a signature that was edited": lambda: edited("dsseEnvelope", "signatures", 0, "sig"),
    "a log entry that was edited": lambda: edited(
        "verificationMaterial", "tlogEntries", 0, "canonicalizedBody"
    ),
    "a promise that was edited": lambda: edited(
        "verificationMaterial", "tlogEntries", 0, "inclusionPromise", "signedEntryTimestamp"
    ),
}


def edited(*path: str | int) -> dict[str, Any]:
    bundle: Any = signed()
    place = bundle
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = signed_elsewhere(path)
    found: dict[str, Any] = bundle
    return found


def signed_elsewhere(path: tuple[str | int, ...]) -> Any:
    """The same field of another signature, which is well formed."""
    place: Any = signed()
    for step in path:
        place = place[step]
    return place


@pytest.mark.parametrize("name", WRONG)
def test_a_signature_that_does_not_hold_refuses(name: str) -> None:
    with refused(Reason.SIGNATURE_INVALID):
        told(WRONG[name](), listed())


def test_files_that_were_not_signed_refuse() -> None:
    bundle = json.dumps(signed()).encode()
    for files, reason in (
        (FILES | {"MLmodel": b""}, Reason.DIGEST_MISMATCH),
        (FILES | {"more.pkl": b""}, Reason.FILE_SURPLUS),
        ({"MLmodel": FILES["MLmodel"]}, Reason.FILE_MISSING),
    ):
        with refused(reason):
            verified_signer(files | {SIG: bundle}, listed())


@pytest.mark.parametrize(
    "change",
    [
        {"verificationMaterial": {}},
        {"verificationMaterial": {"certificate": {"rawBytes": ""}, "tlogEntries": []}},
        {"mediaType": "text/plain"},
    ],
)
def test_what_is_no_bundle_is_refused(change: dict[str, Any]) -> None:
    with refused(Reason.FORMAT_REFUSED):
        told(signed() | change, listed())


def test_a_signature_of_something_else_is_refused() -> None:
    with refused(Reason.FORMAT_REFUSED):
        told(signed(kind="text/plain"), listed())


@pytest.mark.parametrize("root", [b"", b"{}", b"[" * 9, ROOT.replace(b'"tlogs": [{', b'"t": [{')])
def test_a_root_that_is_none_verifies_nothing(root: bytes) -> None:
    with refused(Reason.SIGNATURE_INVALID):
        told(signed(), listed(root=root, given=root))


def test_without_the_library_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore", None)
    with refused(Reason.SIGNER_MISMATCH) as found:
        told(signed(), listed())
    assert "sealgate[sigstore]" in found.value.detail
