"""What a revocation revokes, as the log and the statement of freshness name it: by a digest.

- A version's digest: those bytes, under whatever model they are registered. Only a signer with
  the right to revoke every model revokes so.
- The digest of a model's name and a version's digest: those bytes under that model alone.

Both are SHA-256 over bytes that begin differently (a manifest begins with `{`), so neither can be
taken for the other.
"""

from collections.abc import Collection

from sealgate.trust.digest import sha256

_CONTEXT = "sealgate/revoked-of-model/v1"


def of_model(model: str, digest: str) -> str:
    """Name the version of `digest` under `model` alone."""
    return sha256(f"{_CONTEXT}\n{model}\n{digest}".encode())


def names(model: str, digest: str) -> tuple[str, str]:
    """Every name under which a model's version may have been revoked."""
    return digest, of_model(model, digest)


def is_revoked(revoked: Collection[str], model: str, digest: str) -> bool:
    """Say whether a model's version is among what was revoked."""
    return any(name in revoked for name in names(model, digest))
