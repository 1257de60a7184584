"""Build provenance: an in-toto statement (SLSA provenance v1) of how a version was published.

It names the graphs and data, and the settings and programs with which the files were made. The
graphs are named by their digests before marking, and the watermark key by its commitment only.
Training has a statement of its own (`publishing.source.origin`).
"""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import onnx
import onnxruntime

from publishing.source.dataset import Dataset
from publishing.source.folder import CONFIG, RESPONSE, SERVING, TOKENIZER, SourceFolder
from sealgate.trust import canonical
from sealgate.trust.statements import Manifest
from sealgate.trust.times import format_time

BUILD_TYPE = "urn:sealgate:publish:v1"
_BUILDER = "urn:sealgate:publisher"


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """What a version is made of, by the publisher `maker`, from `began` on; `commitment` is that to
    the watermark key.
    """

    source: SourceFolder
    data: Dataset
    commitment: str
    seed: int
    maker: str
    began: datetime


def build_provenance(making: BuildRecord, manifest: Manifest) -> dict[str, Any]:
    """The statement about the files of `manifest`."""
    settings = {"seed": making.seed, "watermarkCommitment": making.commitment}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": entry.path, "digest": _digest(entry.digest)} for entry in manifest.files
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": settings,
                "resolvedDependencies": [*materials(making.source, making.data), *_programs()],
            },
            "runDetails": {
                "builder": {"id": f"{_BUILDER}:{making.maker}"},
                "metadata": {"startedOn": format_time(making.began)},
            },
        },
    }


def materials(source: SourceFolder, data: Dataset) -> Iterator[dict[str, Any]]:
    """What a version is made of: the source's files, the data, and after a recalibration the
    features that it stands on and the detector that they were measured for.
    """
    files = {CONFIG: source.config.encode(), SERVING: source.serving, RESPONSE: source.response}
    if source.tokenizer is not None:
        files[TOKENIZER] = source.tokenizer
    if data.traffic is not None:
        files["traffic"] = np.ascontiguousarray(data.traffic, "<f4").tobytes()
    if data.earlier is not None:
        files["earlier detector.json"] = data.earlier.encode()
    for name, content in files.items():
        yield {"name": name, "digest": _digest(canonical.sha256(content))}
    yield {"name": "data", "digest": _digest(data.digest)}


def _programs() -> Iterator[dict[str, Any]]:
    """What has a part in the bytes: another release of them may make others."""
    releases = {
        "numpy": np.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "sealgate": importlib.metadata.version("sealgate"),
    }
    for name, release in releases.items():
        yield {"name": name, "uri": f"pkg:pypi/{name}@{release}"}


def _digest(text: str) -> dict[str, str]:
    return {"sha256": canonical.raw(text).hex()}
