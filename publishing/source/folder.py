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

import numpy as np
import numpy.typing as npt
import onnx
import safetensors
from safetensors import numpy as safetensors_numpy

from inference.engine.graphs import check_response
from inference.model.config import ModelConfig
from inference.model.decisions import CLASSES, LABELS, NUMBERS
from inference.model.forms import check_tokenizer, form_of
from inference.model.tensor_spec import TensorSpec
from inference.runtime.response_contract import IDS, MASK, check_same_parameters
from inference.screening.detector import Detector
from publishing.serialization import parse_model
from registry.formats.byte_sources import MemoryBytes
from registry.formats.format_check import check_no_copy, check_source
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import raw, sha256

STATEMENT = "https://in-toto.io/Statement/v1"
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
        """What differential privacy the workshop accounted for, if any."""
        definition = _definition(fields.mapping(self.statement["predicate"]))
        inner = definition.get("internalParameters", {})
        if definition.get("buildType") != WORKSHOP or "privacy" not in fields.mapping(inner):
            return None
        return fields.record(inner["privacy"], _PRIVACY)

    def facts(self) -> Iterator[tuple[str, str]]:
        """What a bill of materials says of it, by name: its digest, and the privacy budget."""
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
_ANY_TOKENS = tuple(TensorSpec(name, "INT64", (-1, -1)) for name in (IDS, MASK))
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
        2. The serving graph has the described input and output (GRAPH_MISMATCH).
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
    found = {value.name: value.type.tensor_type.shape.dim for value in values}
    if found.keys() != {spec.name for spec in specs}:
        raise SealgateError(Reason.GRAPH_MISMATCH, f"the serving graph has {sorted(found)}")
    for spec in specs:
        dims = found[spec.name]
        stated = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
        if stated != spec.shape:
            raise SealgateError(Reason.GRAPH_MISMATCH, f"{spec.name} is {stated}, not {spec.shape}")


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


SLICES = ("fit", "calibration", "test")
# The shares of the first two slices, where rows come undivided.
_FIT, _CALIBRATION = 0.5, 0.25
_INTEGERS = (np.integer, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class DataSlice:
    """Rows `x` with their classes `y` int64 [n], numbers float32 [n, O] or labels int64 [n, L]; n
    is at least 1. The rows are float32 [n, ...], or tokens int64 [n, s] (`inference.text.tokens`),
    s being the most that the model takes.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]

    def __post_init__(self) -> None:
        if not {self.x.dtype.type, self.y.dtype.type} <= {np.float32, np.int64}:
            raise SealgateError(Reason.TENSOR_DATATYPE, f"x is {self.x.dtype}, y is {self.y.dtype}")
        dimensions = 2 if self.y.dtype == np.float32 else self.y.ndim
        if self.x.ndim < 2 or len(self.y) != len(self.x) or not self.y.size:
            raise SealgateError(Reason.TENSOR_SHAPE, f"x is {self.x.shape}, y is {self.y.shape}")
        if self.y.ndim not in (1, 2) or self.y.ndim != dimensions:
            raise SealgateError(Reason.TENSOR_SHAPE, f"y is {self.y.dtype} {self.y.shape}")
        if not np.isfinite(self.x).all() or not np.isfinite(self.y).all():
            raise SealgateError(Reason.TENSOR_NOT_FINITE)

    @property
    def kind(self) -> str:
        """What rows are answered with, as `inference.model.decisions` calls it."""
        if self.y.dtype == np.float32:
            return NUMBERS
        return CLASSES if self.y.ndim == 1 else LABELS

    def halves(self) -> tuple["DataSlice", "DataSlice"]:
        """Two halves of the rows, divided by chance that is always the same: those that a response
        graph made from them keeps, and those that its detector is fitted on. A kept row is as near
        to the graph's rows as no other row is. Raises CALIBRATION_TOO_SMALL for a single row.
        """
        if len(self.x) < 2:
            raise SealgateError(Reason.CALIBRATION_TOO_SMALL, "the fit slice has one row")
        order = np.random.default_rng(0).permutation(len(self.x))
        kept, rest = np.array_split(order, 2)
        return DataSlice(self.x[kept], self.y[kept]), DataSlice(self.x[rest], self.y[rest])

    def check(self, config: ModelConfig) -> None:
        """Checks that the rows are this model's: TENSOR_DATATYPE, TENSOR_SHAPE, TENSOR_RANGE."""
        rules = config.tokens
        if (self.x.dtype == np.int64) is (rules is None):
            raise SealgateError(Reason.TENSOR_DATATYPE, f"x is {self.x.dtype}")
        if self.x.shape[1:] != (config.input.row if rules is None else (rules.most,)):
            raise SealgateError(Reason.TENSOR_SHAPE, f"rows are {self.x.shape[1:]}")
        if rules is not None:
            rules.checked(self.x)
        elif self.x.min() < config.domain.min or self.x.max() > config.domain.max:
            raise SealgateError(Reason.TENSOR_RANGE, "a row lies outside the domain")
        elif config.table is not None:
            config.table.check(self.x)
        if self.kind != config.decision.kind:
            detail = f"y has {self.kind}, and the model answers {config.decision.kind}"
            raise SealgateError(Reason.TENSOR_DATATYPE, detail)
        if self.y.ndim == 2 and self.y.shape[1] != len(config.labels):
            raise SealgateError(Reason.TENSOR_SHAPE, f"y is {self.y.shape}")
        if self.kind == NUMBERS:
            return
        if self.y.min() < 0 or self.y.max() >= (len(config.labels) if self.y.ndim == 1 else 2):
            raise SealgateError(Reason.TENSOR_RANGE, "a class has no label")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Three disjoint slices; `digest` and `size` are those of the file they came from. `traffic`
    are features [n, F] that an earlier version's screening measured of its traffic, to set the
    thresholds on in the place of the calibration slice, each row's once; `vectors` is how many they
    were with their repeats. `earlier` is that version's detector, whose first stage, if it has one,
    decided what was measured of each row.
    """

    fit: DataSlice
    calibration: DataSlice
    test: DataSlice
    digest: str
    size: int
    traffic: npt.NDArray[np.float32] | None = None
    earlier: Detector | None = None
    vectors: int = 0

    @classmethod
    def read(cls, path: Path) -> "Dataset":
        return cls.decode(read_plain_file(path))

    @classmethod
    def decode(cls, data: bytes) -> "Dataset":
        """The slices in a safetensors file's bytes, or `x` and `y`, which are divided.

        Raises: FORMAT_REFUSED (also where a tensor lacks or is one too many), TENSOR_DATATYPE,
        TENSOR_SHAPE, TENSOR_NOT_FINITE.
        """
        try:
            tensors = safetensors_numpy.load(data)
        except safetensors.SafetensorError as error:
            raise SealgateError(Reason.FORMAT_REFUSED, "not a safetensors file") from error
        if tensors.keys() == {"x", "y"}:
            tensors = _divided(tensors["x"], tensors["y"])
        names = {f"{part}_{name}" for part in "xy" for name in SLICES}
        if names - tensors.keys():
            raise SealgateError(Reason.FORMAT_REFUSED, f"no {sorted(names - tensors.keys())}")
        if tensors.keys() - names:
            raise SealgateError(Reason.FORMAT_REFUSED, f"surplus {sorted(tensors.keys() - names)}")
        fit, calibration, test = (DataSlice(tensors[f"x_{n}"], tensors[f"y_{n}"]) for n in SLICES)
        return cls(fit, calibration, test, sha256(data), len(data))

    @classmethod
    def divided(cls, x: npt.NDArray[Any], y: npt.NDArray[Any], data: bytes) -> "Dataset":
        """Rows and their answers, which came in a file of these bytes, divided into slices."""
        tensors = _divided(x, y)
        fit, calibration, test = (DataSlice(tensors[f"x_{n}"], tensors[f"y_{n}"]) for n in SLICES)
        return cls(fit, calibration, test, sha256(data), len(data))

    def check(self, config: ModelConfig) -> None:
        """Checks that the rows are this model's: TENSOR_SHAPE, TENSOR_RANGE."""
        for part in (self.fit, self.calibration, self.test):
            part.check(config)


def _divided(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Three slices of rows and their classes, numbers or labels, in a random order that is always
    the same.
    """
    real = np.issubdtype(y.dtype, np.floating)
    whole = any(np.issubdtype(y.dtype, kind) for kind in _INTEGERS)
    if x.shape[:1] != y.shape[:1] or y.ndim not in (1, 2) or not (real or whole):
        raise SealgateError(Reason.TENSOR_SHAPE, f"x is {x.shape}, y is {y.dtype} {y.shape}")
    y = y.reshape(len(y), -1).astype(np.float32) if real else y.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    ends = [int(_FIT * len(x)), int((_FIT + _CALIBRATION) * len(x))]
    found: dict[str, npt.NDArray[Any]] = {}
    for name, places in zip(SLICES, np.split(order, ends), strict=True):
        found[f"x_{name}"] = x[places].astype(np.float32)
        found[f"y_{name}"] = y[places]
    return found
