"""Verifies the OpenSSF Model Signing signature of a folder that is imported, offline.

The bundle is what `python -m model_signing sign key` or `sign sigstore` writes: a Sigstore bundle
around a DSSE envelope around an in-toto statement of the files' digests. A version of ours is
signed in the same format (`sealgate.trust.statements.oms`), but more strictly. Keys and identities
are those that the policy lists.

The trusted root is a file (`trusted_root.json`) with the certificate authorities and logs of one
Sigstore instance; the policy pins its digest. Nothing is fetched. The library comes with the extra
`sigstore`.
"""

import base64
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import ModelSigner, SigstoreIdentity
from sealgate.trust.statements import oms

SIGNATURES = ("model.sig", "model.sigstore.json")
# Signers may leave out only git's own files, whatever the bundle says that it ignores.
_IGNORED = (".git/", ".github/")
_IGNORED_FILES = frozenset({".gitattributes", ".gitignore"})
_LARGEST = 1 << 24
TRUSTED_ROOT = "--trusted-root"
_PAYLOAD = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class TrustedSigners:
    """The signers that the policy lists, and the trusted roots at hand, by their digests."""

    listed: Mapping[str, ModelSigner]
    roots: Mapping[str, bytes] = field(default_factory=dict)


def verified_signer(files: Mapping[str, bytes], signers: TrustedSigners | None) -> str | None:
    """The evidence on the signature of a folder's `files`, by their path: who signed them. None
    where they are not signed; without `signers`, it says that nothing was verified.

    1. The bundle is one (FORMAT_REFUSED, FILE_TOO_LARGE).
    2. The key that it names is one of `signers` (SIGNER_MISMATCH), and has signed
       (SIGNATURE_INVALID); or the identity, as `verified_statement` says.
    3. The signed statement has the SHA-256 digests of just these files (FORMAT_REFUSED,
       FILE_SURPLUS, FILE_MISSING, DIGEST_MISMATCH).
    """
    name = next((each for each in SIGNATURES if each in files), None)
    if name is None:
        return None
    if signers is None:
        return f"not verified: {name}"
    # 1.
    if len(files[name]) > _LARGEST:
        raise SealgateError(Reason.FILE_TOO_LARGE, f"{name}: {len(files[name])} bytes")
    try:
        bundle = json.loads(files[name])
        by_key = "publicKey" in bundle["verificationMaterial"]
        # 2.
        if by_key:
            who, payload = _by_key(bundle, signers.listed)
        else:
            who, payload = _by_identity(files[name], signers)
        # 3.
        listed = _listed(json.loads(payload))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        detail = f"{name} is no signature of a model: {type(error).__name__}"
        raise SealgateError(Reason.FORMAT_REFUSED, detail) from error
    _check_files(listed, {path: data for path, data in files.items() if path != name})
    return f"verified: {name} by {who}"


def _by_key(bundle: Any, listed: Mapping[str, ModelSigner]) -> tuple[str, bytes]:
    hint = bundle["verificationMaterial"]["publicKey"]["hint"]
    envelope = bundle["dsseEnvelope"]
    (signature,) = envelope["signatures"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    signed = base64.b64decode(signature["sig"], validate=True)
    keys = {who: key for who, key in listed.items() if isinstance(key, PublicKey)}
    for who, key in keys.items():
        if hashlib.sha256(key.pem.encode("ascii")).hexdigest() == hint:
            key.verify(signed, dsse.pae(envelope["payloadType"], payload))
            return f"{who}, key {key.keyid}", payload
    detail = f"the policy lists no such key among {', '.join(keys) or 'none'} (model_signers)"
    raise SealgateError(Reason.SIGNER_MISMATCH, detail)


def _by_identity(bundle: bytes, signers: TrustedSigners) -> tuple[str, bytes]:
    listed = {n: each for n, each in signers.listed.items() if isinstance(each, SigstoreIdentity)}
    who, payload = verified_statement(bundle, listed, signers.roots)
    identity = listed[who]
    told = f"{who}, {identity.identity} of {identity.issuer}, root {identity.trusted_root}"
    return told, payload


def _listed(statement: Any) -> dict[str, str]:
    """The digests by path."""
    kind = statement["_type"], statement["predicateType"]
    how = statement["predicate"]["serialization"]
    if kind != (oms.STATEMENT, oms.PREDICATE_TYPE) or (how["method"], how["hash_type"]) != (
        "files",
        "sha256",
    ):
        detail = "the signature is not over SHA-256 digests of whole files"
        raise SealgateError(Reason.FORMAT_REFUSED, detail)
    resources = statement["predicate"]["resources"]
    digests = b"".join(bytes.fromhex(each["digest"]) for each in resources)
    (subject,) = statement["subject"]
    if subject["digest"]["sha256"] != hashlib.sha256(digests).hexdigest():
        raise SealgateError(Reason.DIGEST_MISMATCH, "the signed digests are not the subject's")
    return {each["name"]: each["digest"] for each in resources}


def _check_files(listed: Mapping[str, str], files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        if path in _IGNORED_FILES or path.startswith(_IGNORED):
            continue
        if path not in listed:
            raise SealgateError(Reason.FILE_SURPLUS, f"{path} is not among the signed files")
        if hashlib.sha256(data).hexdigest() != listed[path]:
            raise SealgateError(Reason.DIGEST_MISMATCH, f"{path} is not the file that was signed")
    if missing := sorted(listed.keys() - files.keys()):
        raise SealgateError(Reason.FILE_MISSING, f"{missing[0]} was signed")


def verified_statement(
    bundle: bytes, listed: Mapping[str, SigstoreIdentity], roots: Mapping[str, bytes]
) -> tuple[str, bytes]:
    """The listed identity that signed the bundle, and the in-toto statement that it signed. `roots`
    are the trusted roots at hand, by their digests.

    1. The certificate names one of the identities, with its issuer (SIGNER_MISMATCH).
    2. The trusted root that is pinned for it is at hand (SIGNER_MISMATCH).
    3. At a time that a log or a time-stamp authority of that root vouches for, the certificate was
       valid by an authority of that root, and is in its certificate log; the signature is the
       certificate's, and in the transparency log (SIGNATURE_INVALID).
    4. The signed payload is an in-toto statement (FORMAT_REFUSED).
    """
    if not listed:
        detail = "it was signed by a Sigstore identity: the policy lists none (model_signers)"
        raise SealgateError(Reason.SIGNER_MISMATCH, detail)
    library = _Library()
    given = library.bundle(bundle)
    # 1.
    named = [name for name, each in listed.items() if library.names(given, each)]
    if not named:
        detail = f"the certificate names none of the identities {', '.join(listed)} (model_signers)"
        raise SealgateError(Reason.SIGNER_MISMATCH, detail)
    # 2. Two names may have one identity, of an older and a newer root.
    who = next((name for name in named if listed[name].trusted_root in roots), None)
    if who is None:
        pinned = " or ".join(listed[name].trusted_root for name in named)
        detail = f"{named[0]}: give the file {pinned} that the policy pins, by {TRUSTED_ROOT}"
        raise SealgateError(Reason.SIGNER_MISMATCH, detail)
    # 3.
    identity = listed[who]
    kind, payload = library.verified(given, identity, roots[identity.trusted_root])
    # 4.
    if kind != _PAYLOAD:
        raise SealgateError(Reason.FORMAT_REFUSED, f"a signature of {kind[:100]}")
    return who, payload


class _Library:
    """The library, with its errors as ours. Raises SIGNER_MISMATCH where it is not installed."""

    def __init__(self) -> None:
        try:
            from sigstore import errors, models
            from sigstore.verify import Verifier, policy
        except ImportError as error:
            detail = "verifying a Sigstore identity needs: pip install 'sealgate[sigstore]'"
            raise SealgateError(Reason.SIGNER_MISMATCH, detail) from error
        self._models, self._policy, self._verifier = models, policy, Verifier
        self._error = errors.Error

    def bundle(self, data: bytes) -> Any:
        """Raises FORMAT_REFUSED."""
        try:
            return self._models.Bundle.from_json(data)
        except (self._error, ValueError, TypeError) as error:
            detail = f"no Sigstore bundle: {str(error)[:200]}"
            raise SealgateError(Reason.FORMAT_REFUSED, detail) from error

    def names(self, bundle: Any, identity: SigstoreIdentity) -> bool:
        """Whether its certificate says so, which only `verified` can bear out."""
        try:
            self._identity(identity).verify(bundle.signing_certificate)
        except Exception:  # certificates without the extension, or with others in its place
            return False
        return True

    def verified(self, bundle: Any, identity: SigstoreIdentity, root: bytes) -> tuple[str, bytes]:
        """The payload's type and the payload. Raises SIGNATURE_INVALID."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "trusted_root.json"
                file.write_bytes(root)
                verifier = self._verifier(
                    trusted_root=self._models.TrustedRoot.from_file(str(file))
                )
            kind, payload = verifier.verify_dsse(bundle, self._identity(identity))
        except Exception as error:  # whatever the library raises, nothing was verified
            detail = f"{identity.identity}: {type(error).__name__}: {str(error)[:200]}"
            raise SealgateError(Reason.SIGNATURE_INVALID, detail) from error
        return str(kind), bytes(payload)

    def _identity(self, identity: SigstoreIdentity) -> Any:
        return self._policy.Identity(identity=identity.identity, issuer=identity.issuer)
