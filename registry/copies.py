"""Copies that a publisher exports for a recipient: they name the version that they were made of,
and are no versions themselves, so nobody can promote one.
"""

import json
from typing import Any

from onnx import ModelProto

from sealgate.reasons import Reason, Refusal

# The note, in an ONNX file's metadata or a safetensors file's, that holds the parent's digest.
PARENT = "sealgate.parent"


def parent_of(path: str, data: bytes) -> str | None:
    """The digest of the version that a file says it is a copy of; None where it says nothing.

    The file has been found to be of the format that its name says.
    """
    if path.endswith(".onnx"):
        notes = ModelProto.FromString(data).metadata_props
        return next((note.value for note in notes if note.key == PARENT), None)
    if path.endswith(".safetensors"):
        size = int.from_bytes(data[:8], "little")
        header: dict[str, Any] = json.loads(data[8 : 8 + size])
        found = header.get("__metadata__", {}).get(PARENT)
        return str(found) if found is not None else None
    return None


def check_no_copy(path: str, data: bytes) -> None:
    """Raises Refusal(COPY_REFUSED) for a file that names a parent."""
    parent = parent_of(path, data)
    if parent is not None:
        raise Refusal(Reason.COPY_REFUSED, f"{path} is a copy of {parent[:80]}")
