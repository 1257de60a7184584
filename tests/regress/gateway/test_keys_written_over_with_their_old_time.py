"""A key set that was written over in place, as long as before and with the old file's time, was not
read: a key that had been taken out went on verifying tokens. Nor was one that was made readable.
"""

import os
from pathlib import Path

from gateway.auth.key_sets import FileKeys
from tests.support.issuer import ED25519, P256, jwk, jwks


def test_are_read(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(jwk(P256, "p")))
    before = path.stat()
    keys = FileKeys(path)
    assert keys.find("p") is not None
    new = jwks(jwk(ED25519, "e"))
    path.write_bytes(new + b" " * (before.st_size - len(new)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert keys.find("p") is None
    assert keys.find("e") is not None
