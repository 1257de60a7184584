"""OpenSSF Model Signing bundles, with which other programs verify a version's files.

A Sigstore bundle around a DSSE envelope around an in-toto statement of the files' digests,
signed with ECDSA P-256, which every verifier of the format takes. The statement is determined by
the manifest, so checking rebuilds it and compares bytes, and leaves nothing to interpret.
"""

import base64
import hashlib
from collections.abc import Iterable

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, dsse, fields
from sealgate.trust.canonical import raw
from sealgate.trust.keys import ECDSA_P256, PublicKey, Signer
from sealgate.trust.statements.manifest import Manifest

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"


def sign(manifest: Manifest, signer: Signer) -> bytes:
    """Return the bundle. Raises ValueError for a key that is not P-256."""
    if signer.public.scheme != ECDSA_P256:
        raise ValueError("model signing takes a P-256 key")
    payload = _statement(manifest)
    signature = signer.sign(dsse.pae(PAYLOAD_TYPE, payload))
    return canonical.encode(_bundle(payload, _hint(signer.public), signature))


def verify(bundle: bytes, manifest: Manifest, keys: Iterable[PublicKey]) -> PublicKey:
    """Return the key out of `keys` that signed the files of `manifest`.

    1. The bundle has the form that `sign` gives it (DOCUMENT_MALFORMED).
    2. Its statement is the one that the manifest leads to (DIGEST_MISMATCH).
    3. One of `keys` is the one that the bundle names (SIGNER_MISMATCH), and is P-256.
    4. Its signature verifies (SIGNATURE_INVALID).
    """
    # 1.
    payload, hint, signature = _read(bundle)
    # 2.
    if payload != _statement(manifest):
        raise SealgateError(Reason.DIGEST_MISMATCH, "another manifest was signed")
    # 3.
    signers = [key for key in keys if key.scheme == ECDSA_P256 and _hint(key) == hint]
    if not signers:
        raise SealgateError(Reason.SIGNER_MISMATCH, "model signed with a key that is not trusted")
    # 4.
    signers[0].verify(signature, dsse.pae(PAYLOAD_TYPE, payload))
    return signers[0]


def names(bundle: bytes, key: PublicKey) -> bool:
    """Say whether a bundle names `key` as its signer, which only `verify` can bear out.

    Raises SealgateError(DOCUMENT_MALFORMED).
    """
    return _read(bundle)[1] == _hint(key)


def _statement(manifest: Manifest) -> bytes:
    """The in-toto statement: its subject, by the format's rule, hashes digests without names.

    So the subject's name is the manifest's own digest, which does cover the names.
    """
    digests = [raw(entry.digest) for entry in manifest.files]
    resources = [
        {"name": entry.path, "algorithm": "sha256", "digest": digest.hex()}
        for entry, digest in zip(manifest.files, digests, strict=True)
    ]
    subject = hashlib.sha256(b"".join(digests)).hexdigest()
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    return canonical.encode(
        {
            "_type": STATEMENT,
            "subject": [{"name": manifest.digest, "digest": {"sha256": subject}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"serialization": serialization, "resources": resources},
        }
    )


def _bundle(payload: bytes, hint: str, signature: bytes) -> dict[str, object]:
    return {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode("ascii"), "keyid": ""}],
        },
    }


def _read(bundle: bytes) -> tuple[bytes, str, bytes]:
    value = canonical.decode(bundle)
    outer = fields.record(value, ("mediaType", "verificationMaterial", "dsseEnvelope"))
    material = fields.record(outer["verificationMaterial"], ("publicKey", "tlogEntries"))
    hint = fields.text(fields.record(material["publicKey"], ("hint",))["hint"])
    envelope = fields.record(outer["dsseEnvelope"], ("payload", "payloadType", "signatures"))
    signatures = fields.items(envelope["signatures"])
    if len(signatures) != 1:
        raise fields.malformed("a model is signed once")
    signature = fields.unbase64(fields.record(signatures[0], ("sig", "keyid"))["sig"])
    payload = fields.unbase64(envelope["payload"])
    # Fields without a bearing on the check must still have the value that we write.
    if value != _bundle(payload, hint, signature):
        raise fields.malformed("a bundle in another form")
    return payload, hint, signature


def _hint(key: PublicKey) -> str:
    return hashlib.sha256(key.pem.encode("ascii")).hexdigest()
