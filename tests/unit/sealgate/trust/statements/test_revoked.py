"""The scope of a revocation: bytes under one model, or under every model."""

from sealgate.trust.statements import is_revoked
from sealgate.trust.statements.covering import revocation_names, revoked_model

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def test_a_digest_revokes_the_bytes_under_every_model() -> None:
    assert is_revoked({DIGEST}, "digits", DIGEST)
    assert is_revoked({DIGEST}, "test", DIGEST)
    assert not is_revoked({DIGEST}, "digits", OTHER)


def test_a_model_and_a_digest_revoke_that_model_alone() -> None:
    revoked = {revoked_model("test", DIGEST)}
    assert is_revoked(revoked, "test", DIGEST)
    assert not is_revoked(revoked, "digits", DIGEST)
    assert not is_revoked(revoked, "test", OTHER)


def test_a_name_is_known_again_by_other_programs() -> None:
    """The log and the statement of freshness hold this hash."""
    assert revoked_model("test", DIGEST) == (
        "sha256:ff68657938a5b822e3a5b0a64d92e906307ea5f49521b160adf0725bcf3d2174"
    )
    assert revocation_names("test", DIGEST) == (DIGEST, revoked_model("test", DIGEST))
