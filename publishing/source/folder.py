"""The source folder of a trained model, as training wrote it, read strictly.

Training provenance: an in-toto statement (SLSA provenance v1), as training wrote it.

    {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
     "subject": [{"name", "digest": {"sha256"}}], "predicate": {"buildDefinition", "runDetails"}}

Its subjects are the unmarked files of the source folder. As evidence it is signed by the publisher,
which binds it to the marked version. The content of the predicate rests on the trainer's word.
"""

import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from inference.engine import check_response
from inference.model.config import ModelConfig
from inference.model.inputs import check_tokenizer, form_of
from inference.model.request_tensors import FP32, INT64, TensorSpec
from inference.runtime.response_contract import IDS, MASK, check_same_parameters
from publishing.serialization import parse_model
from registry.formats.bounded_bytes import MemoryBytes
from registry.formats.format_check import check_no_copy, check_source
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import raw, sha256
from sealgate.trust.statements.oms import STATEMENT

SLSA = "https://slsa.dev/provenance/v1"
# `sealgate train` as a builder and as a build type.
WORKSHOP = "urn:sealgate:train:v1"
_PRIVACY = ("epsilon", "delta", "noise", "clip", "sampling_rate", "steps", "accountant")
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """The statement; `subjects` are SHA-256 digests by file name."""

    statement: Mapping[str, Any]
    subjects: Mapping[str, str]

    @classmethod
    def decode(cls, data: bytes) -> "Origin":
        """Raises SealgateError(DOCUMENT_MALFORMED)."""
        if len(data) > _LARGEST:
            raise fields.malformed("a provenance is at most a mebibyte")
        top = fields.record(
            canonical.decode(data), ("_type", "predicateType", "subject", "predicate")
        )
        if (top["_type"], top["predicateType"]) != (STATEMENT, SLSA):
            raise fields.malformed("not a SLSA provenance")
        predicate = fields.record(top["predicate"], ("buildDefinition", "runDetails"))
        _definition(predicate)
        subjects = {}
        for item in fields.items(top["subject"]):
            subject = fields.record(item, ("name", "digest"))
            digests = fields.record(subject["digest"], ("sha256",))
            subjects[fields.text(subject["name"])] = _digest(digests["sha256"])
        found = cls(top, subjects)
        found.privacy()
        return found

    def check(self, files: Mapping[str, bytes]) -> None:
        """Raises SealgateError(EVIDENCE_MISMATCH) unless it names exactly these files."""
        if self.subjects != {name: sha256(data) for name, data in files.items()}:
            raise SealgateError(Reason.EVIDENCE_MISMATCH, "the provenance is of other files")

    def privacy(self) -> Mapping[str, Any] | None:
        """The differential privacy that the workshop accounted for, if any."""
        definition = _definition(fields.mapping(self.statement["predicate"]))
        inner = definition.get("internalParameters", {})
        if definition.get("buildType") != WORKSHOP or "privacy" not in fields.mapping(inner):
            return None
        return fields.record(inner["privacy"], _PRIVACY)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Its facts in a bill of materials, by name: its digest, and the privacy budget."""
        yield "sealgate:provenance", sha256(canonical.encode(dict(self.statement)))
        for name, value in (self.privacy() or {}).items():
            yield f"sealgate:privacy:{name}", f"{value:.6g}" if type(value) is float else str(value)


def _definition(predicate: Mapping[str, Any]) -> dict[str, Any]:
    return fields.mapping(predicate["buildDefinition"])


def _digest(value: Any) -> str:
    text = f"sha256:{fields.text(value)}"
    raw(text)
    return text


CONFIG, SERVING, RESPONSE = NAMES = ("model.json", "serving.onnx", "response.onnx")
TOKENIZER, ORIGIN = "tokenizer.json", "provenance.json"
_TYPES = {FP32: onnx.TensorProto.FLOAT, INT64: onnx.TensorProto.INT64}
_KINDS = {number: name for name, number in onnx.TensorProto.DataType.items()}
_NARROWED = (
    "leave response.onnx out, and a graph of float64 or float16 is rewritten in float32, and its"
    " response graph made"
)
_ANY_TOKENS = tuple(TensorSpec(name, INT64, (-1, -1)) for name in (IDS, MASK))
# A protobuf message, and so an ONNX file without external data, cannot be larger.
LARGEST_FILE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """A model's description, its serving graph (fp32 ONNX) and the response graph beside it; where
    it takes texts, its tokenizer; and where training wrote one, its provenance. `keeps_rows` says
    that the response graph was made from the first of the fit slice's `halves`. Without screening
    `response` is empty.
    """

    config: ModelConfig
    serving: bytes
    response: bytes
    tokenizer: bytes | None = None
    origin: Origin | None = None
    keeps_rows: bool = False

    @classmethod
    def read(cls, path: Path) -> "SourceFolder":
        """Reads exactly `model.json`, `serving.onnx` and `response.onnx`, and a text model's
        `tokenizer.json`, and checks them; `provenance.json`, where it is there, must be of
        exactly these files.

        Raises: FILE_MISSING, FILE_SURPLUS, PATH_UNSAFE for what is not a plain file,
        FILE_TOO_LARGE, EVIDENCE_MISMATCH, DOCUMENT_MALFORMED, and what `check` raises.
        """
        try:
            present = {entry.name for entry in path.iterdir()}
        except OSError as error:
            raise SealgateError(Reason.FILE_MISSING, f"{path}: {error.strerror}") from error
        if missing := sorted(set(NAMES) - present):
            raise SealgateError(Reason.FILE_MISSING, f"{path} lacks {', '.join(missing)}")
        if surplus := sorted(present - {*NAMES, TOKENIZER, ORIGIN}):
            named = f"{surplus[0]} and {len(surplus) - 1} more" if surplus[1:] else surplus[0]
            raise SealgateError(Reason.FILE_SURPLUS, f"{path} may not hold {named}")
        files = {name: read_plain_file(path / name) for name in sorted(present)}
        stated = files.pop(ORIGIN, None)
        origin = None if stated is None else Origin.decode(stated)
        if origin is not None:
            origin.check(files)
        source = cls(
            config=ModelConfig.read(files[CONFIG]),
            serving=files[SERVING],
            response=files[RESPONSE],
            tokenizer=files.get(TOKENIZER),
            origin=origin,
        )
        source.check()
        return source

    def check(self) -> None:
        """Checks that the graphs are the described model's, and one another's.

        1. Both are whole ONNX models (FORMAT_REFUSED, EXTERNAL_DATA), none an exported copy
           (COPY_REFUSED).
        2. The serving graph has the described input and output, by name, shape and type
           (GRAPH_MISMATCH).
        3. The response graph, if there is one, meets its contract for these sizes (GRAPH_MISMATCH).
        4. Both hold the same weights under the same names (GRAPH_MISMATCH).
        5. There is a tokenizer just where texts come in, and it loads (FILE_MISSING, FILE_SURPLUS,
           FILE_TOO_LARGE, FORMAT_REFUSED, GRAPH_MISMATCH).
        """
        # 1.
        serving = parse_model(self.serving)
        check_no_copy(SERVING, check_source(SERVING, MemoryBytes(self.serving)))
        # 2.
        inputs = (self.config.input,) if self.config.tokens is None else _ANY_TOKENS
        _check_values(serving.graph.input, inputs)
        _check_values(serving.graph.output, (self.config.output,))
        # 3.
        if self.response:
            response = parse_model(self.response)
            check_response(response, self.config)
            # 4.
            check_same_parameters(serving, response)
        # 5.
        check_tokenizer(self.config, self.tokenizer)
        form_of(self.config, self.tokenizer)


def _check_values(values: Sequence[onnx.ValueInfoProto], specs: Sequence[TensorSpec]) -> None:
    dims = {value.name: value.type.tensor_type.shape.dim for value in values}
    expected = {spec.name: spec for spec in specs}
    if dims.keys() != expected.keys():
        raise SealgateError(Reason.GRAPH_MISMATCH, f"the serving graph has {sorted(dims)}")
    for name, spec in expected.items():
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims[name])
        if shape != spec.shape:
            raise SealgateError(Reason.GRAPH_MISMATCH, f"{name} is {shape}, not {spec.shape}")
    for value in values:
        found, wanted = value.type.tensor_type.elem_type, _TYPES[expected[value.name].datatype]
        if found != wanted:
            kind = _KINDS.get(found, f"type {found}")
            detail = f"{value.name} is of {kind}, not {_KINDS[wanted]}: {_NARROWED}"
            raise SealgateError(Reason.GRAPH_MISMATCH, detail)


def read_plain_file(path: Path) -> bytes:
    """A file's bytes; links are not followed, so nothing outside the folder is published."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise SealgateError(Reason.PATH_UNSAFE, f"{path} is not a plain file")
        if status.st_size > LARGEST_FILE:
            raise SealgateError(Reason.FILE_TOO_LARGE, f"{path}: {status.st_size} bytes")
        return path.read_bytes()
    except OSError as error:
        raise SealgateError(Reason.FILE_MISSING, f"{path}: {error.strerror}") from error
