"""Reads a model from MLflow's folder, without MLflow: the ONNX and xgboost flavours.

    MLmodel            YAML: flavours, signature and run, of which plain data only are built
    model.onnx, ...    the file that the flavour names, and larger weights beside it
    ../../metrics/     those of the run whose artifact it is: "time value step" lines
    ../metrics/        those of the logged model whose folder `artifacts` it is (MLflow 3)

What MLflow says of the model becomes evidence: an in-toto statement (SLSA provenance) of the ONNX
file, with the digests of all files that it came from. It rests on the folder's word.

The sklearn flavour is Python objects (a pickle or skops); a pickle runs code when it is read, so
it is refused.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from publishing.ready.external_data import whole_of
from publishing.ready.model_signature import TrustedSigners, verified_signer
from publishing.source.folder import SLSA, Origin, read_plain_file
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import raw, sha256
from sealgate.trust.statements.oms import STATEMENT

MLMODEL, ARTIFACTS, METRICS, SOURCE = "MLmodel", "artifacts", "metrics", "source"
MOST_FILES = 1000
CONVERT = f"{__name__}:convert"
IMPORT = "urn:sealgate:import:mlflow:v1"
_LARGEST = 1 << 20
_DEEPEST = 64
# Of a value without quotes, which may be a number.
_LONGEST = 2048
_OPENING = (
    *(yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken),
    *(yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken),
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
_ADDED = 16 << 20
# A tree's node takes more room in ONNX than in xgboost's own form.
_GROWTH = 8
# The errors of libraries that expect no files damaged on purpose.
_MALFORMED = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError),
    ValueError,
)
# Time and line before a message of xgboost's; a trace of the stack follows it.
_PLACE = re.compile(r"^\[[0-9:]+\] \S+:[0-9]+: ")
_SHOWN = 200
_SAID = (
    "run_id",
    "model_uuid",
    "mlflow_version",
    "utc_time_created",
    "signature",
    "saved_input_example_info",
    "artifact_path",
)


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """An ONNX file; of a folder what it says of it, and the labels that it names."""

    onnx: bytes
    origin: Origin | None = None
    labels: tuple[str, ...] = ()


def is_mlflow(path: Path) -> bool:
    """Whether it is a folder of MLflow's."""
    return path.is_dir() and (path / MLMODEL).is_file()


def files_of(folder: Path) -> list[Path]:
    """Its files, in order. Raises FILE_TOO_LARGE where there are too many."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    if len(found) > MOST_FILES:
        raise SealgateError(Reason.FILE_TOO_LARGE, f"{folder} has more than {MOST_FILES} files")
    return found


def read_mlflow(
    folder: Path, confinement: Confinement, signers: TrustedSigners | None = None
) -> ImportedModel:
    """The model of an MLflow folder. Its signature, if it has one, is held against `signers`.

    Raises as `verified_signer` and `whole_of`, and: FORMAT_REFUSED for what is no MLmodel file, or
    a flavour that is not read; PATH_UNSAFE, FILE_MISSING, and the reasons of a worker.
    """
    files = {path: read_plain_file(path) for path in files_of(folder)}
    named = {path.relative_to(folder).as_posix(): data for path, data in files.items()}
    signer = verified_signer(named, signers)
    document = _document(named[MLMODEL])
    flavour, data = _flavour(document)
    name = _inside(data)
    model = whole_of(named, name, confinement)
    if flavour == "xgboost":
        model = _converted(name, model, confinement)
    statement = _statement(document, flavour, model, signer, _run_of(folder), named)
    return ImportedModel(model, Origin(statement, {"model.onnx": sha256(model)}))


def convert(request: bytes, send: Callable[[bytes], None]) -> None:
    """In a worker: xgboost's own file, as ONNX. Raises FORMAT_REFUSED."""
    try:
        import xgboost
        from onnxmltools import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType
    except ImportError as error:
        detail = "converting xgboost's file needs the packages xgboost and onnxmltools"
        raise SealgateError(Reason.FORMAT_REFUSED, detail) from error
    try:
        booster = xgboost.Booster()
        booster.load_model(bytearray(request))
        taken = [("input", FloatTensorType([None, booster.num_features()]))]
        send(convert_xgboost(booster, initial_types=taken).SerializeToString())
    except (xgboost.core.XGBoostError, *_MALFORMED) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, f"xgboost: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """A library's error, without the place in its own code."""
    said = _PLACE.sub("", str(error)).strip().partition("\n")[0]
    return said[:_SHOWN] or type(error).__name__


def _converted(name: str, model: bytes, confinement: Confinement) -> bytes:
    limits, unsafe = confinement.limits, confinement.unsafe
    try:
        with process.start(CONVERT, model, limits, unsafe=unsafe) as worker:
            found = worker.receive(_GROWTH * len(model) + _ADDED)
            worker.finish()
    except SealgateError as refusal:
        raise SealgateError(refusal.reason, f"{name}: {refusal.detail}") from refusal
    return found


def _document(content: bytes) -> dict[str, Any]:
    try:
        if len(content) > _LARGEST:
            raise ValueError("it is larger than a mebibyte")
        _check_tokens(content.decode())
        value = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, f"MLmodel: {str(error)[:200]}") from error
    if not isinstance(value, dict) or not isinstance(value.get("flavors"), dict):
        raise SealgateError(Reason.FORMAT_REFUSED, "MLmodel names no flavours")
    return value


def _check_tokens(text: str) -> None:
    """Raises ValueError for what takes more than its size: aliases, which can make a small file a
    huge document; deep nesting, and long numbers, of which yaml's time grows with the square.
    """
    depth = 0
    for token in yaml.scan(text):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if isinstance(token, yaml.AliasToken):
            raise ValueError("it has aliases")
        if depth > _DEEPEST:
            raise ValueError("it is nested too deep")
        if isinstance(token, yaml.ScalarToken) and token.plain and len(token.value) > _LONGEST:
            raise ValueError("it has a long value without quotes")


def _flavour(document: Mapping[str, Any]) -> tuple[str, str]:
    """The flavour that is read, and its file's name."""
    flavours = document["flavors"]
    for name in ("onnx", "xgboost"):
        said = flavours.get(name)
        if isinstance(said, dict) and isinstance(said.get("data"), str):
            return name, said["data"]
    if "sklearn" in flavours:
        detail = (
            "the sklearn flavour is Python objects, and a pickle runs code when it is read: log the"
            " model with mlflow.onnx after skl2onnx.to_onnx"
        )
    else:
        detail = f"of the flavours {', '.join(map(str, flavours))} none is onnx or xgboost"
    raise SealgateError(Reason.FORMAT_REFUSED, detail)


def _inside(name: str) -> str:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise SealgateError(Reason.PATH_UNSAFE, f"MLmodel names {name[:100]}")
    return str(parts)


def _statement(
    document: Mapping[str, Any],
    flavour: str,
    model: bytes,
    signer: str | None,
    run: Path | None,
    files: Mapping[str, bytes],
) -> dict[str, Any]:
    said = {name: str(document[name]) for name in _SAID if document.get(name) is not None}
    outer = {
        "flavour": flavour,
        "mlflow": said,
        "metrics": _metrics(run / METRICS) if run else {},
        "model_signature": signer or "unsigned",
    }
    if run is not None and (run / SOURCE).is_file():
        outer["source"] = read_plain_file(run / SOURCE)[:_LARGEST].decode("utf-8", "replace")
    return import_statement(IMPORT, outer, model, files)


def import_statement(
    kind: str, outer: Mapping[str, Any], model: bytes, files: Mapping[str, bytes]
) -> dict[str, Any]:
    """The statement about the ONNX file `model`, which came from the `files` of a folder, by their
    paths; `kind` is the import's, and `outer` what is said of it.
    """
    dependencies = [{"name": path, "digest": _digest(data)} for path, data in files.items()]
    definition = {
        "buildType": kind,
        "externalParameters": dict(outer),
        "internalParameters": {},
        "resolvedDependencies": dependencies,
    }
    details = {"builder": {"id": kind}, "metadata": {}}
    return {
        "_type": STATEMENT,
        "predicateType": SLSA,
        "subject": [{"name": "model.onnx", "digest": _digest(model)}],
        "predicate": {"buildDefinition": definition, "runDetails": details},
    }


def _run_of(folder: Path) -> Path | None:
    """The folder of the run, or of the logged model, that this one is an artifact of. The folder
    above any other model is somebody else's.
    """
    inner = folder.resolve()
    for artifacts in (inner.parent, inner):
        if artifacts.name == ARTIFACTS:
            return artifacts.parent
    return None


def _metrics(place: Path) -> dict[str, str]:
    """The last value of each metric in the folder, as its file has it."""
    found = {}
    for path in files_of(place) if place.is_dir() else []:
        lines = read_plain_file(path)[:_LARGEST].decode("utf-8", "replace").split("\n")
        words = [line.split() for line in lines if line.strip()]
        if words and len(words[-1]) >= 2 and _is_finite(words[-1][1]):
            # A metric's name may have slashes.
            found[path.relative_to(place).as_posix()] = words[-1][1]
    return found


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _digest(data: bytes) -> dict[str, str]:
    return {"sha256": raw(sha256(data)).hex()}
