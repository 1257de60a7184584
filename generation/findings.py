"""What was found of a language model while its version was made, as the bodies of its evidence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from generation.bom import ml_bom, provenance
from generation.golden import GoldenAnswers
from generation.marking import MarkedWeights
from generation.surprise import MEASURE
from inference.llm.request import PromptScreen, Terms
from publishing import evidence
from publishing.watermark.detection import THRESHOLD
from sealgate.trust.statements import Manifest


@dataclass(frozen=True, slots=True)
class Perplexities:
    """Of the publisher's prompts, or of answers to them where a model measures no prompts, `tokens`
    of them: before marking, marked, and as it answers.
    """

    tokens: int
    unmarked: float
    marked: float
    served: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What is said of a version; `task` is what its family does."""

    terms: Terms
    task: str
    golden: GoldenAnswers
    marked: MarkedWeights
    perplexities: Perplexities

    def bodies(self, manifest: Manifest, now: datetime) -> Mapping[str, Any]:
        """By kind of evidence."""
        return {
            evidence.BUILD_PROVENANCE: provenance(manifest, now),
            evidence.ML_BOM: ml_bom(self.terms, self.task, manifest, now),
            evidence.FORMAT_SCAN: {
                "files": {
                    entry.path: {"digest": entry.digest, "format": entry.path.rpartition(".")[2]}
                    for entry in manifest.files
                }
            },
            evidence.GOLDEN_RUN: {
                "prompts": len(self.golden.answers),
                "tokens": sum(len(one.ids) for one in self.golden.answers),
                "generated": "greedily, by transformers' generate",
                "precision": self.terms.precision,
            },
            evidence.SCREENING_REPORT: _screening(self.terms.screening),
            evidence.WATERMARK_CHECK: {
                "commitment": self.marked.committed.mark.commitment,
                "commitment_entry": self.marked.committed.entry,
                "threshold": THRESHOLD,
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
        "false_alarms_bound": screen.bound,
        "confidence": screen.confidence,
        "calibration_prompts": screen.prompts,
    }
