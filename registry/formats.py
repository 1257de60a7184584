"""What a version's files may be: ONNX, safetensors and JSON, by their names and by their content.

Nothing is ever unpickled, unpacked or executed here. An ONNX file must hold all its data itself:
models that pointed at other files have been used to read what they should not.
"""

from collections.abc import Callable, Mapping

from registry.byte_sources import ByteSource, MemoryBytes
from registry.json_text import check_json
from registry.onnx_file import check_model
from registry.tensor_headers import check_header
from sealgate.reasons import Reason, Refusal

LARGEST_JSON = 16 << 20


def check_name(path: str) -> str:
    """Return the extension of a file that may be part of a version.

    Raises Refusal(FORMAT_REFUSED).
    """
    extension = path[path.rfind(".") :] if "." in path else ""
    if extension not in _CHECKS:
        raise Refusal(Reason.FORMAT_REFUSED, f"{path}: not a name that is accepted")
    return extension


def check_file(path: str, data: bytes) -> None:
    """Check that a file is what its name says.

    Raises Refusal: FORMAT_REFUSED, or EXTERNAL_DATA for an ONNX file that refers to another.
    """
    check_source(path, MemoryBytes(data))


def check_source(path: str, source: ByteSource) -> dict[str, str]:
    """The same for bytes that are read in pieces; returns the notes in the file's metadata whose
    names begin with `sealgate.`.
    """
    return _CHECKS[check_name(path)](path, source)


def _check_safetensors(path: str, source: ByteSource) -> dict[str, str]:
    try:
        return check_header(source)
    except ValueError as error:
        raise _refused(path, "not safetensors") from error


def _check_json(path: str, source: ByteSource) -> dict[str, str]:
    if source.size > LARGEST_JSON:
        raise _refused(path, "JSON that is too large")
    try:
        check_json(source.read(0, source.size))
    except ValueError as error:
        raise _refused(path, "not JSON, or too many values") from error
    return {}


_CHECKS: Mapping[str, Callable[[str, ByteSource], dict[str, str]]] = {
    ".onnx": check_model,
    ".safetensors": _check_safetensors,
    ".json": _check_json,
}


def _refused(path: str, detail: str) -> Refusal:
    return Refusal(Reason.FORMAT_REFUSED, f"{path}: {detail}")
