"""Time stamps (RFC 3161) on checkpoints: an authority's word that a log had come so far by a time.

A stamp is the authority's answer (TimeStampResp, DER) over the SHA-256 of a signed note, byte for
byte, so that `openssl ts -verify -data NOTE -in STAMP -CAfile AUTHORITY` checks it as well.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import (
    Certificate,
    DuplicateExtension,
    InvalidVersion,
    ObjectIdentifier,
    UnsupportedGeneralNameType,
    load_pem_x509_certificates,
)

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import malformed

LARGEST_STAMP = 1 << 16
_SHA256 = ObjectIdentifier("2.16.840.1.101.3.4.2.1")
# The errors that a certificate inside a stamp makes the libraries raise, beside their own.
_ODD = (
    DuplicateExtension,
    InvalidVersion,
    UnsupportedAlgorithm,
    UnsupportedGeneralNameType,
    ValueError,
)


class StampRequest(NamedTuple):
    """A request to an authority (TimeStampReq, DER), and the nonce that its answer must have."""

    data: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A signed note of a checkpoint, and an authority's answer for it."""

    note: str
    stamp: bytes


class TimestampAuthority:
    """An authority, by the certificates that vouch for it and the policy that it stamps under.

    Raises SealgateError(DOCUMENT_MALFORMED) for what are no certificates or no policy.
    """

    def __init__(self, certificates: bytes, policy: str = "") -> None:
        try:
            self._roots: list[Certificate] = load_pem_x509_certificates(certificates)
            self._policy = ObjectIdentifier(policy) if policy else None
        except ValueError as error:
            raise malformed(f"a time-stamp authority: {error}") from error

    def request(self, note: str) -> StampRequest:
        """Return what asks for a stamp of a note."""
        library = _library()
        builder = library.TimestampRequestBuilder().data(note.encode())
        built = builder.hash_algorithm(library.HashAlgorithm.SHA256).build()
        return StampRequest(built.as_bytes(), built.nonce)

    def verify(self, stamp: Timestamp, nonce: int | None = None) -> datetime:
        """Check a stamp, and return its time.

        1. It is an authority's answer (DOCUMENT_MALFORMED), by which a stamp was granted
           (TIMESTAMP_REFUSED).
        2. It is for the SHA-256 of this note, under the policy, and with the nonce where one is
           given (TIMESTAMP_MISMATCH).
        3. A certificate for time stamping alone, for which a pinned certificate vouches and which
           was valid at that time, has signed it (SIGNATURE_INVALID).
        """
        # 1.
        answer = _read(stamp.stamp)
        told = answer.tst_info
        # 2.
        imprint = told.message_imprint
        expected = (_SHA256, sha256(stamp.note.encode()).digest())
        if (imprint.hash_algorithm, imprint.message) != expected:
            raise SealgateError(Reason.TIMESTAMP_MISMATCH, "it is for other bytes")
        if self._policy is not None and told.policy != self._policy:
            found = told.policy.dotted_string
            raise SealgateError(Reason.TIMESTAMP_MISMATCH, f"it is under the policy {found}")
        if nonce is not None and told.nonce != nonce:
            raise SealgateError(Reason.TIMESTAMP_MISMATCH, "it answers another request")
        # 3.
        library = _library()
        try:
            verifier = library.VerifierBuilder(roots=list(self._roots)).build()
            verifier.verify(answer, expected[1])
        except (library.VerificationError, *_ODD) as error:
            raise SealgateError(Reason.SIGNATURE_INVALID, f"a time stamp: {error}") from error
        return _time(told)


def _time(told: Any) -> datetime:
    time: datetime = told.gen_time
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _read(data: bytes) -> Any:
    """The answer that is in these bytes, in one spelling. Raises SealgateError."""
    library = _library()
    if len(data) > LARGEST_STAMP:
        raise malformed("a time stamp: too long")
    try:
        answer = library.decode_timestamp_response(data)
        if answer.as_bytes() != data:
            raise malformed("a time stamp: another spelling")
        if answer.status != 0:
            detail = f"status {answer.status}: {' '.join(answer.status_string)[:200]}"
            raise SealgateError(Reason.TIMESTAMP_REFUSED, detail)
        # Without a token there is none of these.
        _ = answer.tst_info.gen_time, answer.signed_data
    except _ODD as error:
        raise malformed(f"a time stamp: {error}") from error
    return answer


def _library() -> Any:
    try:
        # Only the extra `timestamps` brings it.
        import rfc3161_client
    except ImportError as error:
        detail = "rfc3161-client is not installed: pip install 'sealgate[timestamps]'"
        raise SealgateError(Reason.TIMESTAMP_REFUSED, detail) from error
    return rfc3161_client
