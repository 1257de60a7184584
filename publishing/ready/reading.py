"""Reads what a publisher has: the folder of a described model, or the file of a ready one."""

from dataclasses import replace
from pathlib import Path

from inference.model.config import ModelConfig
from publishing.ready.description import ModelDescription
from publishing.ready.preparation import add_response, prepare
from publishing.source.folder import (
    CONFIG,
    RESPONSE,
    SERVING,
    Dataset,
    SourceFolder,
    read_plain_file,
)
from registry.sandbox.confinement import Confinement


def read_source(
    path: Path,
    data: Dataset,
    description: ModelDescription | None,
    confinement: Confinement,
    quantized: bool | None = None,
) -> SourceFolder:
    """The model at `path`. With a `description` it is a file, which is prepared. A folder has a
    `model.json`, whose precision `quantized` replaces; if it has no `response.onnx`, that is made.

    Raises as `prepare` and `SourceFolder.read` do.
    """
    if description is not None:
        return prepare(read_plain_file(path), data, description, confinement)
    if (path / SERVING).is_file() and not (path / RESPONSE).exists():
        config = _precise(ModelConfig.read(read_plain_file(path / CONFIG)), quantized)
        return add_response(config, read_plain_file(path / SERVING), data, confinement)
    source = SourceFolder.read(path)
    return replace(source, config=_precise(source.config, quantized))


def _precise(config: ModelConfig, quantized: bool | None) -> ModelConfig:
    return config if quantized is None else replace(config, quantized=quantized)
