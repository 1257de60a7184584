"""Plain records of models, versions, proposals and pointers, and their etags.

Times are text (RFC 3339, seconds, UTC). `entry` is the index of the record's entry in the
registry's log. Envelopes, manifests, signatures and bundles are the bytes that were signed.
"""

from dataclasses import dataclass

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256

_LENGTH = 32


def etag(*parts: str) -> str:
    """A strong etag, in its quotes, over all that may change of a resource."""
    digest = sha256(canonical.encode(list(parts))).removeprefix("sha256:")
    return f'"{digest[:_LENGTH]}"'


def check_etag(given: str, present: str) -> None:
    """Raises SealgateError(ETAG_STALE) unless `given` is empty or the one of the present state."""
    if given not in ("", present):
        raise SealgateError(Reason.ETAG_STALE, f"{given} where {present} is")


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model; `latest_version` is 0 before the first."""

    model: str
    creator: str
    time: str
    latest_version: int
    entry: int


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A version. `watermark_entry` is the log entry that committed its watermark's key.

    `evidence` holds the envelopes in the order of registration. `revocation_reason` is empty
    while the version is not revoked, `screening_withdrawn` (a time) while its bound holds.
    `attached` holds the envelopes of evidence that came later, oldest first.
    """

    model: str
    version: int
    digest: str
    publisher: str
    time: str
    manifest: bytes
    signature: bytes
    evidence: tuple[bytes, ...]
    revocation_reason: str
    commitment: str
    watermark_entry: int
    entry: int
    screening_withdrawn: str = ""
    attached: tuple[bytes, ...] = ()

    @property
    def etag(self) -> str:
        """Changes when the version is revoked."""
        return etag("version", self.model, str(self.version), self.digest, self.revocation_reason)


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """A proposal with the approvals, rejections and comments that it has so far, oldest first.

    `withdrawal` is empty unless its proposer withdrew it. `state` is `open`, `rejected`,
    `withdrawn`, `moved` (the alias has moved since it was made) or `expired`; empty where it is not
    known.
    """

    digest: str
    model: str
    alias: str
    version: int
    proposer: str
    time: str
    envelope: bytes
    approvals: tuple[bytes, ...]
    entry: int
    rejections: tuple[bytes, ...] = ()
    withdrawal: bytes = b""
    comments: tuple[bytes, ...] = ()
    state: str = ""


@dataclass(frozen=True, slots=True)
class PointerRecord:
    """One move of an alias. `digest` is the pointer's own, `version_digest` the version's."""

    model: str
    alias: str
    sequence: int
    digest: str
    action: str
    version: int
    version_digest: str
    admin: str
    time: str
    reason: str
    bundle: bytes
    entry: int

    @property
    def etag(self) -> str:
        """Another for each move."""
        return etag("pointer", self.digest)


@dataclass(frozen=True, slots=True)
class LivePointerRecord:
    """The version of an alias, with everything that an engine needs to verify it.

    The publisher is whoever's key made `signature` (an OMS bundle) over `manifest`.
    """

    model: str
    alias: str
    version: int
    bundle: bytes
    manifest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent state: the policy chain, every alias's newest pointer, and the statement
    that they are the newest. Readers verify all of it before they act on it.
    """

    policies: tuple[bytes, ...]
    live: tuple[LivePointerRecord, ...]
    freshness: bytes
