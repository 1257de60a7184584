"""Evidence of a language model: its measurements and its bill of materials."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any

from generation.models.folder import GoldenAnswers
from generation.models.perplexity import MEASURE
from generation.publishing.watermark import MarkedWeights
from generation.publishing.window_choice import WindowFindings
from inference.llm.terms import GeneratorTerms, PromptScreen
from publishing.evidence import signing
from publishing.evidence.bom import DATASET_REF, bill
from publishing.source.folder import SLSA
from publishing.watermark import MARK_THRESHOLD
from sealgate.trust import canonical
from sealgate.trust.statements import Manifest
from sealgate.trust.statements.oms import STATEMENT
from sealgate.trust.times import format_time

_SERIALS = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/sealgate/generator")
_PACKAGES = ("sealgate", "torch", "torchao", "transformers", "tokenizers")


def ml_bom(terms: GeneratorTerms, task: str, manifest: Manifest, now: datetime) -> dict[str, Any]:
    """The bill of materials; the same files and time give the same bytes. `task` is as for
    `ModelFamily`.
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
        "_type": STATEMENT,
        "subject": [
            {"name": entry.path, "digest": {"sha256": canonical.raw(entry.digest).hex()}}
            for entry in manifest.files
        ],
        "predicateType": SLSA,
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


def _model(terms: GeneratorTerms, task: str, manifest: Manifest) -> dict[str, Any]:
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


@dataclass(frozen=True, slots=True)
class Perplexities:
    """Perplexities of the publisher's prompts, or of answers to them if the model cannot measure
    prompts: before marking, marked, and as served; over `tokens` tokens.
    """

    tokens: int
    unmarked: float
    marked: float
    served: float


@dataclass(frozen=True, slots=True)
class GeneratorFindings:
    """The measurements of a version; `task` is what its family does. `windows` is None if it has
    no attention windows.
    """

    terms: GeneratorTerms
    task: str
    golden: GoldenAnswers
    marked: MarkedWeights
    perplexities: Perplexities
    windows: WindowFindings | None = None

    def bodies(self, manifest: Manifest, now: datetime) -> Mapping[str, Any]:
        """By kind of evidence."""
        return {
            signing.BUILD_PROVENANCE: provenance(manifest, now),
            signing.ML_BOM: ml_bom(self.terms, self.task, manifest, now),
            signing.FORMAT_SCAN: {
                "files": {
                    entry.path: {"digest": entry.digest, "format": entry.path.rpartition(".")[2]}
                    for entry in manifest.files
                }
            },
            signing.GOLDEN_RUN: {
                "prompts": len(self.golden.answers),
                "tokens": sum(len(one.ids) for one in self.golden.answers),
                "generated": "greedily, by transformers' generate",
                "precision": self.terms.precision,
                **({} if self.windows is None else {"attention": self.windows.as_json()}),
            },
            signing.SCREENING_REPORT: _screening(self.terms.screening),
            signing.WATERMARK_CHECK: {
                "commitment": self.marked.committed.mark.commitment,
                "commitment_entry": self.marked.committed.entry,
                "threshold": MARK_THRESHOLD,
                "stored": asdict(self.marked.stored),
                "int8": asdict(self.marked.int8),
                "perplexity": asdict(self.perplexities),
            },
        }


def _screening(screen: PromptScreen | None) -> dict[str, Any]:
    if screen is None:
        return {"measure": "none: the model does not say how likely a prompt is"}
    return {
        "measure": MEASURE,
        "window": screen.window,
        "tail": screen.tail,
        **({} if screen.weights is None else {"weights": asdict(screen.weights)}),
        "false_alarms_bound": screen.bound,
        "confidence": screen.confidence,
        "calibration_prompts": screen.prompts,
    }
