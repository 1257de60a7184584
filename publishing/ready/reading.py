"""Reads what a publisher has: a described model's folder, a ready one's file, or other layouts.

Folders in Hugging Face's layout need an ONNX file; nothing else of theirs is run.

    config.json                   architecture and labels
    model.onnx, onnx/model.onnx   as `optimum-cli export onnx` writes it
    README.md                     the model card, kept by its digest

Texts need the graphs that `sealgate import` makes of known architectures.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inference.model.config import ModelConfig
from publishing.ready.description import ModelDescription
from publishing.ready.external_data import read_whole, whole_of
from publishing.ready.mlflow import (
    ImportedModel,
    files_of,
    import_statement,
    is_mlflow,
    read_mlflow,
)
from publishing.ready.model_signature import TrustedSigners, verified_signer
from publishing.ready.preparation import add_response, in_float32, inputs_of, prepare
from publishing.ready.rows import check_row_sizes, column_rows, read_named, tensor_rows
from publishing.source.dataset import Dataset
from publishing.source.folder import (
    CONFIG,
    RESPONSE,
    SERVING,
    Origin,
    SourceFolder,
    read_plain_file,
)
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

_ARCHITECTURE = "config.json"
IMPORT = "urn:sealgate:import:huggingface:v1"
_GRAPHS = ("model.onnx", "onnx/model.onnx")
_KNOWN = ("bert", "llama", "qwen2", "t5")
_SAID = ("model_type", "architectures", "_name_or_path", "transformers_version")


@dataclass(frozen=True, slots=True)
class RowsOptions:
    """Which columns of a table are the answers, and what inputs that may be left out default to."""

    targets: tuple[str, ...] = ()
    optional: Mapping[str, str] = field(default_factory=dict)


def read_rows(
    path: Path,
    data: Path,
    description: ModelDescription | None,
    options: RowsOptions,
    confinement: Confinement,
) -> tuple[Dataset, ModelDescription | None]:
    """The rows of the model at `path`, and what its description gains by them: of a table the names
    of its columns and classes, of several inputs their tensors.

    Raises: PARAMETER_MALFORMED, FORMAT_REFUSED, TENSOR_DATATYPE, TENSOR_SHAPE, and as
    `Dataset.read` does.
    """
    if description is not None:
        check_row_sizes(data)
    named = read_named(data, options.targets) if description is not None else None
    if named is None or description is None:
        if options.targets or options.optional:
            detail = "--target and --optional are for a file's model and its inputs by name"
            raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
        return Dataset.read(data), description
    described = replace(description, labels=description.labels or named.words)
    inputs = inputs_of(_ready(path, confinement).onnx, confinement)
    if named.names_columns(inputs):
        dataset, names = column_rows(named)
        return dataset, replace(described, column_names=description.column_names or names)
    dataset, tensors = tensor_rows(named, inputs, options.optional)
    return dataset, replace(described, tensors=tensors)


def read_source(
    path: Path,
    data: Dataset,
    description: ModelDescription | None,
    confinement: Confinement,
    quantized: bool | None = None,
    screened: bool = True,
    signers: TrustedSigners | None = None,
) -> SourceFolder:
    """The model at `path`. With a `description` it is a file or a folder of MLflow's or Hugging
    Face's, whose signature is held against `signers`, and is prepared. Another folder has a
    `model.json`, whose precision `quantized` replaces; if it has no `response.onnx`, that is made,
    and a graph of float64 or float16 becomes one of float32.
    Unless it is `screened`, there is none.

    Raises as `prepare` and `SourceFolder.read` do.
    """
    if description is not None:
        model = _ready(path, confinement, signers)
        described = replace(description, labels=description.labels or model.labels)
        prepared = prepare(model.onnx, data, described, confinement, screened)
        return replace(prepared, origin=model.origin)
    lacking = (path / SERVING).is_file() and not (path / RESPONSE).exists()
    if lacking or not screened:
        config = _precise(ModelConfig.read(read_plain_file(path / CONFIG)), quantized)
        serving = in_float32(config, read_plain_file(path / SERVING), data, confinement)
        if screened:
            return add_response(config, serving, data, confinement)
        source = SourceFolder(config, serving, b"")
        source.check()
        return source
    source = SourceFolder.read(path)
    return replace(source, config=_precise(source.config, quantized))


def is_ready(path: Path) -> bool:
    """Whether options describe the model at `path`, and no `model.json`."""
    return path.is_file() or is_mlflow(path) or is_huggingface(path)


def model_name(path: Path, description: ModelDescription | None) -> str:
    """The name of the model at `path`. Raises as `ModelConfig.read` does."""
    if description is not None:
        return description.name
    return ModelConfig.read(read_plain_file(path / CONFIG)).name


def _ready(
    path: Path, confinement: Confinement, signers: TrustedSigners | None = None
) -> ImportedModel:
    if is_mlflow(path):
        return read_mlflow(path, confinement, signers)
    if is_huggingface(path):
        return read_huggingface(path, confinement, signers)
    return ImportedModel(read_whole(path, confinement))


def _precise(config: ModelConfig, quantized: bool | None) -> ModelConfig:
    return config if quantized is None else replace(config, quantized=quantized)


def is_huggingface(path: Path) -> bool:
    """Whether it is such a folder, and none of ours."""
    return (path / _ARCHITECTURE).is_file() and not (path / CONFIG).exists()


def read_huggingface(
    folder: Path, confinement: Confinement, signers: TrustedSigners | None = None
) -> ImportedModel:
    """The model of such a folder, with the labels that its configuration names.

    Raises as `verified_signer` and `whole_of`, and FORMAT_REFUSED for what no importer reads, with
    what to do.
    """
    files = {
        path.relative_to(folder).as_posix(): read_plain_file(path) for path in files_of(folder)
    }
    signer = verified_signer(files, signers)
    config = _config(files[_ARCHITECTURE])
    family = str(config.get("model_type", ""))
    if "vocab_size" in config:
        raise SealgateError(Reason.FORMAT_REFUSED, _for_texts(folder, family))
    graph = next((name for name in _GRAPHS if name in files), None)
    if graph is None:
        detail = f"it has no {' or '.join(_GRAPHS)}: `optimum-cli export onnx --model {folder} OUT`"
        raise SealgateError(Reason.FORMAT_REFUSED, detail)
    said = {name: str(config[name]) for name in _SAID if config.get(name)}
    outer = {"huggingface": said, "file": graph, "model_signature": signer or "unsigned"}
    model = whole_of(files, graph, confinement)
    statement = import_statement(IMPORT, outer, model, files)
    origin = Origin(statement, {"model.onnx": sha256(model)})
    return ImportedModel(model, origin, _labels(config))


def _config(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, f"{_ARCHITECTURE} is no JSON") from error
    if not isinstance(value, dict):
        raise SealgateError(Reason.FORMAT_REFUSED, f"{_ARCHITECTURE} describes no model")
    return value


def _for_texts(folder: Path, family: str) -> str:
    if family in _KNOWN:
        return f"it takes texts: `sealgate import {folder} --out COPY --graphs GRAPHS` takes it in"
    return f"it takes texts, and is of {family or 'no kind'}: known are {', '.join(_KNOWN)}"


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the classes in their order; none where they are not numbered from 0."""
    named = config.get("id2label")
    if not isinstance(named, dict):
        return ()
    found = tuple(str(named.get(str(at), "")) for at in range(len(named)))
    return found if all(found) else ()
