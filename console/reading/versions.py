"""Versions as pages show them: verified from the pinned root keys on, or listed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from console.reading.gateway import PersonCalls
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import SignedVersion, open_attached
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.policy.promotion_rules import MAKERS
from sealgate.trust.statements import Evidence, Manifest, open_under
from sealgate.v1 import registry_pb2 as messages

_KEPT = 16
"""Versions that stay verified, those looked at last."""


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version whose manifest its publisher has signed, with evidence that its makers have."""

    message: messages.Version
    number: int
    manifest: Manifest
    evidence: tuple[Evidence, ...]
    attached: tuple[Evidence, ...]

    def of(self, kind: str) -> Evidence | None:
        """The item of that kind, if there is one."""
        return next((item for item in self.evidence if item.kind == kind), None)


def list_versions(
    calls: PersonCalls, numbers: Mapping[str, Collection[int]]
) -> dict[str, list[messages.Version]]:
    """Of each model these of its versions, newest first: without signature and evidence, and as the
    registry tells them.
    """
    asked = {model: sorted(some) for model, some in numbers.items() if some}
    requests = [
        messages.ListVersionsRequest(
            model=model,
            page_size=len(some),
            filter=" OR ".join(f"version = {number}" for number in some),
            view=messages.VERSION_VIEW_BASIC,
        )
        for model, some in asked.items()
    ]
    pages = calls.recall_all("ListVersions", requests)
    return {m: list(reversed(page.versions)) for m, page in zip(asked, pages, strict=True)}


def is_screened(message: messages.Version) -> bool:
    """Whether its files have a graph that screens rows. Raises SealgateError(DIGEST_MISMATCH)."""
    if sha256(message.manifest) != message.digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of {message.name}")
    return Manifest.decode(message.manifest).screened


def read_version(calls: PersonCalls, model: str, number: int) -> ShownVersion:
    """Ask for a version and verify it, from the pinned root keys on.

    Raises SealgateError: reasons of `SignedVersion.of` and `open_under`, DIGEST_MISMATCH,
    EVIDENCE_MISMATCH.
    """
    name = f"models/{model}/versions/{number}"
    found = calls.recall("GetVersion", messages.GetVersionRequest(name=name)).version
    sent = _SentVersion(
        name,
        found.digest,
        found.publisher,
        found.manifest,
        found.signature,
        tuple(found.evidence),
        tuple(found.attached),
        tuple(policy.digest for policy in calls.policies),
        calls.policies,
    )
    return ShownVersion(found, number, *_verify(sent))


@dataclass(frozen=True, slots=True)
class _SentVersion:
    """What the registry sent of a version, and the policies: all that its verification rests on."""

    name: str
    digest: str
    publisher: str
    manifest: bytes
    signature: bytes
    evidence: tuple[bytes, ...]
    attached: tuple[bytes, ...]
    policy_digests: tuple[str, ...]
    policies: tuple[Policy, ...] = field(compare=False, repr=False)


@lru_cache(_KEPT)
def _verify(sent: _SentVersion) -> tuple[Manifest, tuple[Evidence, ...], tuple[Evidence, ...]]:
    """The manifest, the evidence, and what was attached later. The same bytes under the same
    policies are verified once: the version in production is looked at beside each other one.
    """
    signed = SignedVersion.of(
        sent.name, sent.manifest, sent.signature, sent.publisher, sent.policies
    )
    if sent.digest != sha256(sent.manifest):
        raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of {sent.name}")
    evidence = tuple(
        open_under(Envelope.decode(item), Evidence, sent.policies, MAKERS) for item in sent.evidence
    )
    if any(item.version_digest != sent.digest for item in evidence):
        raise SealgateError(Reason.EVIDENCE_MISMATCH, sent.name)
    return signed.manifest, evidence, open_attached(sent.attached, sent.digest, sent.policies)
