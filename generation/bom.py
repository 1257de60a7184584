"""What a language model is made of, and by what: CycloneDX 1.6 with a model card, and SLSA."""

import uuid
from datetime import datetime
from importlib.metadata import version
from typing import Any

from inference.llm.request import Terms
from publishing.bom import DATASET_REF, bill
from sealgate.trust import canonical
from sealgate.trust.statements import Manifest
from sealgate.trust.times import format_time

_SERIALS = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/sealgate/generator")
_PACKAGES = ("sealgate", "torch", "torchao", "transformers", "tokenizers")


def ml_bom(terms: Terms, task: str, manifest: Manifest, now: datetime) -> dict[str, Any]:
    """The bill of materials; the same files and time give the same bytes. `task` is as for
    `Family`.
    """
    data = {
        "type": "data",
        "bom-ref": DATASET_REF,
        "name": terms.data.name,
        "licenses": [{"license": {"name": terms.data.license}}],
        "data": [{"type": "dataset", "name": terms.data.name}],
    }
    return bill(_SERIALS, manifest, _model(terms, task, manifest), data, now)


def provenance(manifest: Manifest, now: datetime) -> dict[str, Any]:
    """An in-toto statement over all files: what took them in, and when."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": entry.path, "digest": {"sha256": canonical.raw(entry.digest).hex()}}
            for entry in manifest.files
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:sealgate:publish-generator:v1",
                "externalParameters": {},
                "resolvedDependencies": [
                    {"name": name, "uri": f"pkg:pypi/{name}@{version(name)}"} for name in _PACKAGES
                ],
            },
            "runDetails": {
                "builder": {"id": "urn:sealgate:publisher"},
                "metadata": {"startedOn": format_time(now)},
            },
        },
    }


def _model(terms: Terms, task: str, manifest: Manifest) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": manifest.digest,
        "name": terms.name,
        "version": manifest.digest,
        "description": terms.description,
        "modelCard": {
            "modelParameters": {
                "task": task,
                "datasets": [{"ref": DATASET_REF}],
                "inputs": [{"format": "text, or chat messages"}],
                "outputs": [{"format": "text"}],
            },
            "considerations": {"useCases": [terms.intended_use]},
        },
    }
