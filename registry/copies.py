"""Copies that a publisher exports for a recipient: they name the version that they were made of,
and are no versions themselves, so nobody can promote one.
"""

from collections.abc import Mapping

from registry.byte_sources import MemoryBytes
from registry.formats import check_source
from sealgate.reasons import Reason, Refusal

# The note, in an ONNX file's metadata or a safetensors file's, that holds the parent's digest.
PARENT = "sealgate.parent"


def parent_of(path: str, data: bytes) -> str | None:
    """The digest of the version that a file says it is a copy of; None where it says nothing.

    Raises Refusal as `formats.check_file` does.
    """
    return check_source(path, MemoryBytes(data)).get(PARENT)


def check_no_copy(path: str, notes: Mapping[str, str]) -> None:
    """Check a file by the notes in its metadata. Raises Refusal(COPY_REFUSED) for a copy."""
    if PARENT in notes:
        raise Refusal(Reason.COPY_REFUSED, f"{path} is a copy of {notes[PARENT][:80]}")
