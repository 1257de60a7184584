"""Long runs: what pure functions of the trust layer return is kept by their arguments.

The same signatures and documents occur in many runs. Both verdicts on a signature are kept;
documents that were refused are not. The short runs in the tests do without.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from sealgate.reasons import SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Manifest, PointerBundle
from sealgate.trust.statements.base import Statement

_MOST = 100_000


@contextmanager
def remembering() -> Iterator[None]:
    """In the block, each signature is verified once, and each document is read once."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(PublicKey, "verify", _verifying_once()))
        for kind in (Policy, Envelope, PointerBundle, Manifest, Statement):
            patches.enter_context(patch.object(kind, "decode", _decoding_once(kind)))
        patches.enter_context(patch.object(Manifest, "encode", _encoding_once()))
        yield


def _verifying_once() -> Any:
    verify = PublicKey.verify
    verdicts: dict[Any, SealgateError | None] = {}

    def once(key: PublicKey, signature: bytes, message: bytes) -> None:
        asked = (key.keyid, signature, message)
        if asked not in verdicts:
            try:
                verify(key, signature, message)
                _keep(verdicts, asked, None)
            except SealgateError as refusal:
                _keep(verdicts, asked, refusal)
        if (found := verdicts[asked]) is not None:
            raise SealgateError(found.reason, found.detail)

    return once


def _decoding_once(kind: type) -> Any:
    decode = vars(kind)["decode"].__func__
    kept: dict[Any, Any] = {}

    def once(cls: type, data: bytes) -> Any:
        if not isinstance(data, bytes):
            return decode(cls, data)
        found = kept.get((cls, data))
        return found if found is not None else _keep(kept, (cls, data), decode(cls, data))

    return classmethod(once)


def _encoding_once() -> Any:
    encode = Manifest.encode
    kept: dict[Any, bytes] = {}

    def once(manifest: Manifest) -> bytes:
        found = kept.get(manifest)
        return found if found is not None else _keep(kept, manifest, encode(manifest))

    return once


def _keep(kept: dict[Any, Any], name: Any, value: Any) -> Any:
    if len(kept) >= _MOST:
        kept.clear()
    kept[name] = value
    return value
