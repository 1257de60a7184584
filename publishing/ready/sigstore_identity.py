"""Verifies a Sigstore bundle by an identity that the policy lists, offline, by Sigstore's library.

The trusted root is a file (`trusted_root.json`) with the certificate authorities and logs of one
Sigstore instance; the policy pins its digest. Nothing is fetched. The library comes with the extra
`sigstore`.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import SigstoreIdentity

TRUSTED_ROOT = "--trusted-root"
_PAYLOAD = "application/vnd.in-toto+json"


def verified_statement(
    bundle: bytes, listed: Mapping[str, SigstoreIdentity], roots: Mapping[str, bytes]
) -> tuple[str, bytes]:
    """Whose signature the bundle is, of those listed, and the in-toto statement that was signed.
    `roots` are the trusted roots at hand, by their digests.

    1. The certificate names one of the identities, with its issuer (SIGNER_MISMATCH).
    2. The trusted root that is pinned for it is at hand (SIGNER_MISMATCH).
    3. At a time that a log or a time-stamp authority of that root vouches for, the certificate was
       valid by an authority of that root, and is in its certificate log; the signature is the
       certificate's, and in the transparency log (SIGNATURE_INVALID).
    4. What was signed is an in-toto statement (FORMAT_REFUSED).
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
