"""How the registry's state reaches the engine in this process: as stored, for it to verify."""

from collections.abc import Mapping
from dataclasses import dataclass

from inference.engine.admission import SignedManifest
from registry.state import records
from registry.storage.artifacts import ArtifactStore
from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import check_name
from sealgate.trust.statements import Manifest, PointerBundle


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """One snapshot, and the files of the versions that it names. Nothing in it is trusted."""

    policies: tuple[Envelope, ...]
    bundles: Mapping[tuple[str, str], PointerBundle]
    freshness: Envelope
    manifests: Mapping[str, SignedManifest]
    sizes: Mapping[str, int]
    artifacts: ArtifactStore

    @classmethod
    def of(cls, snapshot: records.Snapshot, artifacts: ArtifactStore) -> "RegistrySnapshot":
        """Raises: DOCUMENT_MALFORMED where the database holds what nobody signed."""
        manifests, sizes = {}, {}
        for live in snapshot.live:
            for name in (live.model, live.alias):
                check_name(name, Reason.DOCUMENT_MALFORMED)
            manifest = Manifest.decode(live.manifest)
            manifests[manifest.digest] = SignedManifest(live.manifest, live.signature)
            sizes.update({entry.digest: entry.size for entry in manifest.files})
        return cls(
            tuple(Envelope.decode(envelope) for envelope in snapshot.policies),
            {(live.model, live.alias): PointerBundle.decode(live.bundle) for live in snapshot.live},
            Envelope.decode(snapshot.freshness),
            manifests,
            sizes,
            artifacts,
        )

    def signed_manifest(self, digest: str) -> SignedManifest:
        """The manifest of the version of that digest. Raises: VERSION_ALTERED."""
        if digest not in self.manifests:
            raise Refusal(Reason.VERSION_ALTERED, f"no manifest has the digest {digest}")
        return self.manifests[digest]

    def read(self, digest: str) -> bytes:
        """A file's bytes. Raises: VERSION_ALTERED, REGISTRY_UNAVAILABLE."""
        if digest not in self.sizes:
            raise Refusal(Reason.VERSION_ALTERED, f"no manifest names {digest}")
        return self.artifacts.read(digest, self.sizes[digest])
