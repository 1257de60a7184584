"""The machine-learning bill of materials: CycloneDX 1.6 JSON with a model card.

It is written without the format's library, which loses the model card. The same version, figures
and time give the same bytes: the serial number is derived from the version's digest.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from inference.model.columns import describe_columns
from inference.model.config import ModelConfig
from inference.model.decisions import CLASSES, LABELS, NUMBERS
from sealgate.trust import canonical
from sealgate.trust.statements import FileEntry, Manifest
from sealgate.trust.times import format_time

# Identifiers of the SPDX list that data here come under; the format refuses unknown identifiers.
_SPDX = frozenset({"Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "MIT"})
_SERIALS = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/sealgate/version")
DATASET_REF = "data"
_TASKS = {CLASSES: "classification", LABELS: "multi-label classification", NUMBERS: "regression"}


@dataclass(frozen=True, slots=True)
class DataFile:
    """The data set's file: its digest and size."""

    digest: str
    size: int


def ml_bom(
    config: ModelConfig,
    manifest: Manifest,
    data: DataFile,
    accuracies: Mapping[str, float],
    now: datetime,
    facts: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """The document. `accuracies` are shares of the test slice, by what was measured; `facts` are
    what training says of itself, by name. A table's columns are told of in the order of its rows.
    """
    model = _model(config, manifest, accuracies, facts)
    return bill(_SERIALS, manifest, model, _data_set(config, data), now)


def bill(
    serials: uuid.UUID,
    manifest: Manifest,
    model: dict[str, Any],
    data: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    """The document around the components of a model and its data, whose reference is DATASET_REF,
    with the manifest's files. Its serial number is one of `serials`.
    """
    refs = [DATASET_REF, *map(_ref, manifest.files)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(serials, manifest.digest).urn,
        "version": 1,
        "metadata": {"timestamp": format_time(now), "component": model},
        "components": [data, *map(_file, manifest.files)],
        "dependencies": [
            {"ref": manifest.digest, "dependsOn": refs},
            *({"ref": ref} for ref in refs),
        ],
    }


def _model(
    config: ModelConfig,
    manifest: Manifest,
    accuracies: Mapping[str, float],
    facts: Mapping[str, str],
) -> dict[str, Any]:
    columns = describe_columns(config.columns).items()
    told = [
        *({"name": name, "value": value} for name, value in sorted(facts.items())),
        *({"name": f"sealgate:column:{name}", "value": value} for name, value in columns),
    ]
    metrics = [
        {"type": config.decision.quality_name, "value": f"{value:.4f}", "slice": f"test, {name}"}
        for name, value in sorted(accuracies.items())
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": manifest.digest,
        "name": config.name,
        # The registry numbers a version after this is signed; its digest names it from the start.
        "version": manifest.digest,
        "description": config.description,
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": _TASKS[config.decision.kind],
                "datasets": [{"ref": DATASET_REF}],
                "inputs": [
                    {"format": _tensor(each.datatype, each.shape)} for each in config.inputs
                ],
                "outputs": [{"format": _tensor(config.output.datatype, config.output.shape)}],
            },
            "quantitativeAnalysis": {"performanceMetrics": metrics},
            "considerations": {"useCases": [config.intended_use]},
            **({"properties": told} if told else {}),
        },
    }


def _data_set(config: ModelConfig, data: DataFile) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": DATASET_REF,
        "name": config.data.name,
        "hashes": [_hash(data.digest)],
        "licenses": [{"license": _license(config.data.license)}],
        "data": [{"type": "dataset", "name": config.data.name}],
        "properties": [{"name": "sealgate:size", "value": str(data.size)}],
    }


def _file(entry: FileEntry) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": _ref(entry),
        "name": entry.path,
        "hashes": [_hash(entry.digest)],
        "properties": [{"name": "sealgate:size", "value": str(entry.size)}],
    }


def _ref(entry: FileEntry) -> str:
    return f"file:{entry.path}"


def _hash(text: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": canonical.raw(text).hex()}


def _license(name: str) -> dict[str, str]:
    return {"id": name} if name in _SPDX else {"name": name}


def _tensor(datatype: str, shape: tuple[int, ...]) -> str:
    return f"{datatype} [{', '.join('n' if size < 0 else str(size) for size in shape)}]"
