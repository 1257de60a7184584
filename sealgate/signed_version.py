"""A registered version whose signature was verified, and its files, each checked by its digest.

Only the root keys are trusted, never the registry. Evidence that was attached later is verified
here too.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import EvidenceRules, Policy, open_policy_history
from sealgate.trust.statements import Evidence, FileEntry, Manifest, oms, open_under
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

DETECTOR = "detector.json"
"""The file of a version that judges rows; language models have none."""


def policy_history(
    registry: RegistryServiceStub, root_keys: Mapping[str, PublicKey], threshold: int
) -> tuple[Policy, ...]:
    """Every policy from the pinned root keys on, oldest first; the newest may have expired.

    Raises SealgateError like `open_policy_history`.
    """
    envelopes = registry.GetPolicy(messages.GetPolicyRequest()).envelopes
    return open_policy_history(list(map(Envelope.decode, envelopes)), root_keys, threshold)


@dataclass(frozen=True, slots=True)
class SignedVersion:
    """A version `models/{model}/versions/{version}`: its manifest, and the key that signed it."""

    name: str
    manifest: Manifest
    key: PublicKey

    @classmethod
    def of(
        cls,
        name: str,
        manifest: bytes,
        signature: bytes,
        publisher: str,
        policies: Sequence[Policy],
    ) -> "SignedVersion":
        """The version of a manifest whose files the publisher has signed, with a key that one of
        `policies` gives them.

        Raises SealgateError: DOCUMENT_MALFORMED, PATH_UNSAFE, reasons of `oms.verify`.
        """
        read = Manifest.decode(manifest)
        keys = [key for policy in policies for key in policy.keys_of(publisher).values()]
        return cls(name, read, oms.verify(signature, read, keys))

    @classmethod
    def fetch(
        cls, registry: RegistryServiceStub, policies: Sequence[Policy], model: str, version: int
    ) -> "SignedVersion":
        """Ask the registry for a version. Raises SealgateError like `of`, and DIGEST_MISMATCH."""
        name = f"models/{model}/versions/{version}"
        sent = registry.GetVersion(messages.GetVersionRequest(name=name)).version
        signed = cls.of(name, sent.manifest, sent.signature, sent.publisher, policies)
        if sent.digest != signed.manifest.digest:
            raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of {name}")
        return signed

    @classmethod
    def fetch_answering(
        cls, registry: RegistryServiceStub, policies: Sequence[Policy], fields: Mapping[str, str]
    ) -> "SignedVersion":
        """Ask for the version that answered, by what a receipt opens. Raises SealgateError like
        `fetch`, and DIGEST_MISMATCH for another version than the receipt's.
        """
        signed = cls.fetch(registry, policies, fields["model"], int(fields["version"]))
        if signed.manifest.digest != fields["version_digest"]:
            raise SealgateError(
                Reason.DIGEST_MISMATCH, "the registry's version is not the receipt's"
            )
        return signed

    def chunks(self, registry: RegistryServiceStub, entry: FileEntry) -> Iterator[bytes]:
        """The bytes of a file as they come; what came counts only once this ends without refusal.

        Raises SealgateError: FILE_TOO_LARGE, DIGEST_MISMATCH.
        """
        request = messages.DownloadFileRequest(name=self.name, path=entry.path)
        hashed, size = hashlib.sha256(), 0
        for part in registry.DownloadFile(request):
            size += len(part.chunk)
            if size > entry.size:
                raise SealgateError(Reason.FILE_TOO_LARGE, entry.path)
            hashed.update(part.chunk)
            yield part.chunk
        if size != entry.size or "sha256:" + hashed.hexdigest() != entry.digest:
            raise SealgateError(Reason.DIGEST_MISMATCH, entry.path)

    def file(self, registry: RegistryServiceStub, path: str) -> bytes:
        """One file, whole. Raises SealgateError like `chunks`, and FILE_SURPLUS where there is
        none.
        """
        return b"".join(self.chunks(registry, self.manifest.entry(path)))


def open_attached(
    envelopes: Iterable[bytes], version_digest: str, policies: Sequence[Policy]
) -> tuple[Evidence, ...]:
    """Return the items, in their order.

    1. A publisher, an approver or an admin of one of the policies has signed it (reasons of
       `open_under`).
    2. It is of a kind that may come later, and about this version (EVIDENCE_MISMATCH).
    """
    items = []
    for data in envelopes:
        # 1.
        item = open_under(Envelope.decode(data), Evidence, policies, EvidenceRules.ATTACHERS)
        # 2.
        if item.kind not in EvidenceRules.ATTACHED or item.version_digest != version_digest:
            raise SealgateError(Reason.EVIDENCE_MISMATCH, f"{item.kind} of {item.version_digest}")
        items.append(item)
    return tuple(items)
