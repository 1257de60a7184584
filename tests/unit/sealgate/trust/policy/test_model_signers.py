"""The policy's signers of imported model folders: keys and Sigstore identities."""

from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy import Policy, SigstoreIdentity
from sealgate.trust.policy.principals import ModelSigners
from tests.support.builders.documents.people import key, make_policy, p256_key, refused

ROOT = f"sha256:{'0' * 64}"
IDENTITY = {
    "identity": "release@lab.example",
    "issuer": "https://accounts.lab.example",
    "trusted_root": ROOT,
}


def test_the_section_reads_back() -> None:
    listed = {"vendor": p256_key("paula").public, "lab": SigstoreIdentity(**IDENTITY)}
    policy = make_policy(model_signers=ModelSigners(listed))
    assert Policy.decode(policy.encode()) == policy
    assert policy.trusted_makers == listed


def test_without_the_section_nobody_vouches_for_models() -> None:
    assert make_policy().trusted_makers == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": ""},
        {"identity": "a" * 501},
        {"identity": 1},
        {"issuer": "http://accounts.lab.example"},
        {"issuer": "accounts.lab.example"},
        {"issuer": "https://"},
        {"trusted_root": "0" * 64},
        {"trusted_root": "sha256:0"},
        {"more": "x"},
    ],
)
def test_what_is_no_identity_is_refused(changes: dict[str, Any]) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        ModelSigners.from_json({"lab": IDENTITY | changes})


@pytest.mark.parametrize("field", IDENTITY)
def test_an_identity_lacks_nothing(field: str) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        ModelSigners.from_json({"lab": {n: v for n, v in IDENTITY.items() if n != field}})


def test_a_key_is_p256() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        ModelSigners({"vendor": key("paula").public})


@pytest.mark.parametrize("value", [None, 1, [], ["a"]])
def test_a_signer_is_a_key_or_an_identity(value: Any) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        ModelSigners.from_json({"vendor": value})


def test_a_makers_name_is_one() -> None:
    with refused(Reason.NAME_MALFORMED):
        ModelSigners.from_json({"A b": IDENTITY})
