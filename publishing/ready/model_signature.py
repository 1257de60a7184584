"""Verifies the OpenSSF Model Signing signature of a folder that is imported, offline.

The bundle is what `python -m model_signing sign key` or `sign sigstore` writes: a Sigstore bundle
around a DSSE envelope around an in-toto statement of the files' digests. A version of ours is
signed in the same format (`sealgate.trust.statements.oms`), but more strictly. Keys and identities
are those that the policy lists.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from publishing.ready.sigstore_identity import verified_statement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import ModelSigner, SigstoreIdentity
from sealgate.trust.statements import oms

SIGNATURES = ("model.sig", "model.sigstore.json")
# What signers leave out: git's own files, whatever the bundle says that it ignores.
_IGNORED = (".git/", ".github/")
_IGNORED_FILES = frozenset({".gitattributes", ".gitignore"})
_STATEMENT = "https://in-toto.io/Statement/v1"
_LARGEST = 1 << 24


@dataclass(frozen=True, slots=True)
class TrustedSigners:
    """Whom the policy lists, and the trusted roots at hand, by their digests."""

    listed: Mapping[str, ModelSigner]
    roots: Mapping[str, bytes] = field(default_factory=dict)


def verified_signer(files: Mapping[str, bytes], signers: TrustedSigners | None) -> str | None:
    """What evidence says of the signature of a folder's `files`, by their path: who signed them.
    None where it is not signed; without `signers`, that nothing was verified.

    1. The bundle is one (FORMAT_REFUSED, FILE_TOO_LARGE).
    2. The key that it names is one of `signers` (SIGNER_MISMATCH), and has signed
       (SIGNATURE_INVALID); or the identity, as `verified_statement` says.
    3. What was signed are the SHA-256 digests of just these files (FORMAT_REFUSED, FILE_SURPLUS,
       FILE_MISSING, DIGEST_MISMATCH).
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
    if kind != (_STATEMENT, oms.PREDICATE_TYPE) or (how["method"], how["hash_type"]) != (
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
