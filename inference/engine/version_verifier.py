"""Admission: verifies a version before it may answer. The database is not trusted.

The code carries the numbers of these steps (the first two are in `inference.engine.trust_state`):

 1. The policy chain verifies from the pinned root keys and is not older than the last one seen.
 2. A freshness service states what is live now; the statement is not older than the last one seen.
 3. The pointer is the one that the statement names for the model and alias (POINTER_STALE).
 4. The manifest has the digest that the pointer names (VERSION_ALTERED).
 5. The OMS signature over the manifest is by a publisher's key that the policy still lists
    (SIGNER_MISMATCH, SIGNATURE_INVALID). The key identifies the publisher.
 6. The pointer follows from its proposal and approvals, at least one of them by someone other than
    the publisher (`verify_pointer`), and is for this model and alias (POINTER_INVALID). Nobody
    ever rejected or withdrew that proposal in a way that the policy lets stop it
    (PROPOSAL_REJECTED). The version has a screening graph, or the current policy exempts the
    model's risk tier from it (SCREENING_REQUIRED).
 7. Its sequence is not lower than one seen before (SEQUENCE_STALE).
 8. The version is not revoked and never was (VERSION_REVOKED).
 9. The manifest names exactly the files of a version (FILE_MISSING, FILE_SURPLUS). The loader
    checks whether a tokenizer belongs to them.
10. The bytes of each file, in memory, are those of the manifest (VERSION_ALTERED). These same
    bytes are loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from inference.engine.trust_state import (
    HighWaterMark,
    Place,
    PolicyState,
    RollbackGuard,
    TrustState,
)
from inference.engine.version_contents import FILES, RESPONSE, TOKENIZER
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import PublicKey
from sealgate.trust.statements import (
    FileEntry,
    Manifest,
    Pointer,
    PointerBundle,
    oms,
    verify_pointer,
)


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A version's manifest and the OMS bundle over it, as stored."""

    manifest: bytes
    signature: bytes


class FileSource(Protocol):
    """Reads the files of versions. Its content is not trusted."""

    def read(self, digest: str) -> bytes:
        """The bytes of one file. Raises SealgateError if there are none."""
        ...


class Source(FileSource, Protocol):
    """Reads the files and the signed manifests of versions. Its content is not trusted."""

    def signed_manifest(self, digest: str) -> SignedManifest:
        """The manifest of the version of that digest. Raises SealgateError if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class VerifiedPointer:
    """A verified pointer (steps 3 to 7), and the rollback guard that results from it."""

    pointer: Pointer
    pointer_digest: str
    manifest: Manifest
    publisher: str
    seen: RollbackGuard

    def check_not_revoked(self) -> None:
        """Step 8. Raises SealgateError(VERSION_REVOKED)."""
        # 8.
        if self.seen.is_revoked(self.pointer.model, self.pointer.digest):
            raise SealgateError(Reason.VERSION_REVOKED, self.pointer.digest)


def verify_current_pointer(
    place: Place, bundle: PointerBundle, trust: TrustState, seen: RollbackGuard, source: Source
) -> VerifiedPointer:
    """Steps 3 to 7, which read no file of the version. Raises SealgateError as the module says."""
    # 3.
    pointer_digest = bundle.pointer.payload_digest
    claimed = Pointer.decode(bundle.pointer.payload)
    if trust.freshness.pointer(*place) != (claimed.sequence, pointer_digest):
        raise SealgateError(Reason.POINTER_STALE, "the statement names another pointer")
    cleared = verify_past_pointer(place, bundle, trust, seen, source)
    # 7.
    mark = HighWaterMark(cleared.pointer.sequence, pointer_digest)
    return replace(cleared, seen=seen.with_pointer("/".join(place), mark))


def verify_past_pointer(
    place: Place, bundle: PointerBundle, trust: TrustState, seen: RollbackGuard, source: Source
) -> VerifiedPointer:
    """Steps 4 to 6: that the pointer was right once, whether or not it still is the newest."""
    claimed = Pointer.decode(bundle.pointer.payload)
    # 4.
    signed = source.signed_manifest(claimed.digest)
    manifest = Manifest.decode(signed.manifest)
    if manifest.digest != claimed.digest:
        raise SealgateError(Reason.VERSION_ALTERED, "the manifest is another version's")
    # 5.
    publishers = _publishers(trust.policies, manifest.digest)
    keys = [key for key, _ in publishers.values()]
    publisher = publishers[oms.verify(signed.signature, manifest, keys).keyid][1]
    # 6.
    policies = trust.policies
    pointer = verify_pointer(bundle, policies.by_digest, policies.current, publisher, trust.now)
    if (pointer.model, pointer.alias) != place:
        raise SealgateError(Reason.POINTER_INVALID, "the pointer is for another model or alias")
    if pointer.proposal in seen.rejected:
        raise SealgateError(Reason.PROPOSAL_REJECTED, pointer.proposal)
    policies.current.check_screening(pointer.model, manifest.screened)
    return VerifiedPointer(pointer, bundle.pointer.payload_digest, manifest, publisher, seen)


def read_files(manifest: Manifest, source: FileSource) -> Mapping[str, bytes]:
    """Steps 9 and 10. Raises SealgateError as the module says, or as the source does."""
    # 9.
    paths = {entry.path for entry in manifest.files}
    needed = FILES if manifest.screened else FILES - {RESPONSE}
    if missing := needed - paths:
        raise SealgateError(Reason.FILE_MISSING, f"{sorted(missing)}")
    if surplus := paths - FILES - {TOKENIZER}:
        raise SealgateError(Reason.FILE_SURPLUS, f"{sorted(surplus)}")
    # 10.
    files = {entry.path: source.read(entry.digest) for entry in manifest.files}
    try:
        manifest.check(files)
    except SealgateError as refusal:
        raise SealgateError(Reason.VERSION_ALTERED, refusal.detail) from refusal
    return files


def read_file(entry: FileEntry, source: FileSource) -> bytes:
    """Step 10 for one file. Raises SealgateError(VERSION_ALTERED), or as the source does."""
    data = source.read(entry.digest)
    try:
        entry.check(data)
    except SealgateError as refusal:
        raise SealgateError(Reason.VERSION_ALTERED, refusal.detail) from refusal
    return data


def _publishers(policies: PolicyState, version: str) -> dict[str, tuple[PublicKey, str]]:
    """The keys of publishers that vouch for a version (a digest), by key id, with their holder.

    Former publishers appear in earlier policies only; what they signed holds while the current one
    lists their key, or names the version as an exception to the key's withdrawal.
    """
    listed = policies.current.keys
    return {
        keyid: (listed[keyid], principal.name)
        for policy in policies.history
        for principal in policy.with_role("publisher")
        for keyid in principal.keys
        if policies.current.vouches(keyid, version)
    }
