"""The task of a sandboxed worker that checks a version's files.

A manifest's signature is checked before; so the files are a publisher's, and hostile at worst. The
worker's reply is whether each file is whole (VERSION_ALTERED), of an accepted format
(FORMAT_REFUSED, EXTERNAL_DATA) and no exported copy (COPY_REFUSED).
"""

import hashlib
from collections.abc import Callable

from registry.formats.byte_sources import FileBytes
from registry.formats.format_check import check_no_copy, check_source
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.canonical import raw

TASK = "registry.formats.check_task:run"
_BLOCK = 1 << 20


def run(request: bytes, send: Callable[[bytes], None]) -> None:
    """The worker's side. The request is a list of files: path, size, digest and descriptor."""
    for path, size, digest, descriptor in canonical.decode(request):
        source = FileBytes(descriptor, size)
        _check_digest(source, digest)
        check_no_copy(path, check_source(path, source))


def _check_digest(source: FileBytes, digest: str) -> None:
    hasher, at = hashlib.sha256(), 0
    while block := source.read(at, _BLOCK):
        hasher.update(block)
        at += len(block)
    # A file that has grown is another one.
    more = FileBytes(source.descriptor, source.size + 1).read(source.size, 1)
    if at != source.size or more or hasher.digest() != raw(digest):
        raise SealgateError(Reason.VERSION_ALTERED, f"{digest} is not what is stored under it")
