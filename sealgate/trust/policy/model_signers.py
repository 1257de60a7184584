"""The section `model_signers`: who may have signed a model folder that is imported.

    {"vendor": "<P-256 key as PEM>",
     "lab": {"identity": "release@lab.example", "issuer": "https://accounts.lab.example",
             "trusted_root": "sha256:<of the file trusted_root.json>"}}

An identity is one of Sigstore's: whom a certificate names, and the OpenID provider that vouched for
it. `trusted_root` pins the file with the authorities and logs of that Sigstore instance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from sealgate.trust import fields
from sealgate.trust.canonical import raw
from sealgate.trust.fields import check_name
from sealgate.trust.keys import ECDSA_P256, PublicKey

_LONGEST = 500
_IDENTITY = ("identity", "issuer", "trusted_root")


@dataclass(frozen=True, slots=True)
class SigstoreIdentity:
    """`identity` is an e-mail address or a URI, `issuer` the https URL of an OpenID provider, and
    `trusted_root` the digest of a file. Raises SealgateError(DOCUMENT_MALFORMED).
    """

    identity: str
    issuer: str
    trusted_root: str

    def __post_init__(self) -> None:
        if not 0 < len(self.identity) <= _LONGEST:
            raise fields.malformed("an identity is a text")
        issuer = urlsplit(self.issuer)
        if issuer.scheme != "https" or not issuer.hostname or len(self.issuer) > _LONGEST:
            raise fields.malformed("an identity's issuer is an https URL")
        raw(self.trusted_root)

    def to_json(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "issuer": self.issuer,
            "trusted_root": self.trusted_root,
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        item = fields.record(value, _IDENTITY)
        return cls(*(fields.text(item[name]) for name in _IDENTITY))


ModelSigner = PublicKey | SigstoreIdentity


@dataclass(frozen=True, slots=True)
class ModelSigners:
    """`listed`: the name of a maker of models to the P-256 key, or to the Sigstore identity, with
    which it signs folders.

    Raises SealgateError: DOCUMENT_MALFORMED or NAME_MALFORMED.
    """

    listed: Mapping[str, ModelSigner]

    def __post_init__(self) -> None:
        for name, signer in self.listed.items():
            check_name(name)
            if isinstance(signer, PublicKey) and signer.scheme != ECDSA_P256:
                raise fields.malformed(f"{name} signs models with a P-256 key")

    def to_json(self) -> dict[str, Any]:
        return {
            name: signer.pem if isinstance(signer, PublicKey) else signer.to_json()
            for name, signer in self.listed.items()
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls({name: _signer(item) for name, item in fields.mapping(value).items()})


def _signer(value: Any) -> ModelSigner:
    if isinstance(value, str):
        return PublicKey.from_pem(value)
    return SigstoreIdentity.from_json(value)
