"""A language model's bill of materials, held against the format's own schema."""

from datetime import UTC, datetime
from typing import Any

import pytest

from generation.models.architectures import FAMILIES
from generation.publishing.evidence import ml_bom
from inference.llm.terms import ARCHITECTURES, GeneratorTerms
from inference.model.config import TrainingDataInfo
from sealgate.trust.statements import Manifest
from tests.support.oracles.bills import is_valid_bill

TERMS = GeneratorTerms(
    "tiny", "small", "tests", TrainingDataInfo("Python's manual", "PSF-2.0"), 96, 64, None
)
MANIFEST = Manifest.of({"config.json": b"{}", "model.safetensors": b"weights"})
TASKS = {"llama": "text-generation", "qwen2": "text-generation", "t5": "text2text-generation"}


def bill(task: str) -> dict[str, Any]:
    return ml_bom(TERMS, task, MANIFEST, datetime(2026, 11, 26, tzinfo=UTC))


@pytest.mark.parametrize("kind", ARCHITECTURES.values())
def test_it_is_strictly_valid_cyclonedx_1_6_and_says_the_task(kind: str) -> None:
    found = bill(FAMILIES[kind].task)
    assert is_valid_bill(found)
    card = found["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["task"] == TASKS[kind]


def test_the_validator_would_have_noticed() -> None:
    broken = bill("text-generation")
    broken["metadata"]["component"]["modelCard"]["surprise"] = 1
    assert not is_valid_bill(broken)
