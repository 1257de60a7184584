"""Load request: one pointer with all its proofs, as a gateway sends it to an engine.

It is sent as parameters of the protocol's RepositoryModelLoad: `alias` is text, the others are
bytes. `policies` is the whole chain, oldest first. Nothing in it is trusted; the engine verifies it
from its own root keys, like the content of a database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from inference.engine import Place, SignedManifest
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import check_name
from sealgate.trust.statements import Manifest, PointerBundle

ALIAS = "alias"
POLICIES, FRESHNESS, POINTER = "policies", "freshness", "pointer"
MANIFEST, SIGNATURE = "manifest", "signature"
PARTS = frozenset({POLICIES, FRESHNESS, POINTER, MANIFEST, SIGNATURE})


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """A pointer that one call asks an engine to follow, with its proofs."""

    place: Place
    policies: tuple[Envelope, ...]
    freshness: Envelope
    pointer: PointerBundle
    manifest: Manifest
    signature: bytes

    @property
    def digest(self) -> str:
        """The pointer's."""
        return self.pointer.pointer.payload_digest

    @property
    def signed(self) -> SignedManifest:
        return SignedManifest(self.manifest.encode(), self.signature)

    def parts(self) -> dict[str, bytes]:
        """The bytes of each parameter that has them."""
        return {
            POLICIES: encode_policies(self.policies),
            FRESHNESS: self.freshness.encode(),
            POINTER: self.pointer.encode(),
            MANIFEST: self.manifest.encode(),
            SIGNATURE: self.signature,
        }

    @classmethod
    def read(cls, model: str, alias: str, parts: Mapping[str, bytes]) -> Self:
        """Read the parameters `parts`. Raises: NAME_MALFORMED, PARAMETER_MALFORMED for a missing or
        surplus parameter, DOCUMENT_MALFORMED.
        """
        place = check_name(model, Reason.NAME_MALFORMED), check_name(alias, Reason.NAME_MALFORMED)
        if parts.keys() != PARTS:
            raise SealgateError(Reason.PARAMETER_MALFORMED, f"not the parameters {sorted(PARTS)}")
        policies = fields.items(canonical.decode(parts[POLICIES]))
        return cls(
            place=place,
            policies=tuple(Envelope.from_json(policy) for policy in policies),
            freshness=Envelope.decode(parts[FRESHNESS]),
            pointer=PointerBundle.decode(parts[POINTER]),
            manifest=Manifest.decode(parts[MANIFEST]),
            signature=parts[SIGNATURE],
        )


def encode_policies(policies: Sequence[Envelope]) -> bytes:
    """A chain of policies as canonical JSON."""
    return canonical.encode([policy.to_json() for policy in policies])
