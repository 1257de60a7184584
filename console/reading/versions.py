"""Versions as pages show them: verified from the pinned root keys on, or listed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from console.reading.gateway import PersonCalls
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import SignedVersion, open_attached
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.promotion_rules import MAKERS
from sealgate.trust.statements import Evidence, Manifest, open_under
from sealgate.v1 import registry_pb2 as messages


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
    pages = calls.ask_all(calls.registry.ListVersions, requests)
    return {m: list(reversed(page.versions)) for m, page in zip(asked, pages, strict=True)}


def is_screened(message: messages.Version) -> bool:
    """Whether its files have a graph that screens rows. Raises SealgateError(DIGEST_MISMATCH)."""
    manifest = Manifest.decode(message.manifest)
    if manifest.digest != message.digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of {message.name}")
    return manifest.screened


def read_version(calls: PersonCalls, model: str, number: int) -> ShownVersion:
    """Ask for a version and verify it, from the pinned root keys on.

    Raises SealgateError: reasons of `SignedVersion.of` and `open_under`, DIGEST_MISMATCH,
    EVIDENCE_MISMATCH.
    """
    name = f"models/{model}/versions/{number}"
    found = calls.ask(calls.registry.GetVersion, messages.GetVersionRequest(name=name)).version
    policies = calls.policies
    signed = SignedVersion.of(name, found.manifest, found.signature, found.publisher, policies)
    if found.digest != signed.manifest.digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of {name}")
    evidence = tuple(
        open_under(Envelope.decode(item), Evidence, policies, MAKERS) for item in found.evidence
    )
    if any(item.version_digest != found.digest for item in evidence):
        raise SealgateError(Reason.EVIDENCE_MISMATCH, name)
    attached = open_attached(found.attached, found.digest, policies)
    return ShownVersion(found, number, signed.manifest, evidence, attached)
