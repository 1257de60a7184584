"""Reads a model from a folder in Hugging Face's layout that has an ONNX file; nothing else is run.

    config.json                   architecture and labels
    model.onnx, onnx/model.onnx   as `optimum-cli export onnx` writes it
    README.md                     the model card, kept by its digest

Texts need the graphs that `sealgate import` makes of known architectures.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from publishing.ready.external_data import whole_of
from publishing.ready.mlflow import ImportedModel, files_of, import_statement
from publishing.ready.model_signature import TrustedSigners, verified_signer
from publishing.source.folder import CONFIG as OURS
from publishing.source.folder import Origin, read_plain_file
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

CONFIG = "config.json"
IMPORT = "urn:sealgate:import:huggingface:v1"
_GRAPHS = ("model.onnx", "onnx/model.onnx")
_KNOWN = ("bert", "llama", "qwen2", "t5")
_SAID = ("model_type", "architectures", "_name_or_path", "transformers_version")


def is_huggingface(path: Path) -> bool:
    """Whether it is such a folder, and none of ours."""
    return (path / CONFIG).is_file() and not (path / OURS).exists()


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
    config = _config(files[CONFIG])
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
        raise SealgateError(Reason.FORMAT_REFUSED, f"{CONFIG} is no JSON") from error
    if not isinstance(value, dict):
        raise SealgateError(Reason.FORMAT_REFUSED, f"{CONFIG} describes no model")
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
