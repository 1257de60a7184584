"""A `model.json` for tests: digits of 64 pixels in two classes."""

import json
from typing import Any

from inference.model.config import ModelConfig

DOCUMENT: dict[str, Any] = {
    "type": "sealgate/model/v1",
    "name": "digits",
    "description": "Reads digits.",
    "intended_use": "Demonstration.",
    "data": {"name": "Digits", "license": "CC-BY-4.0"},
    "input": {"name": "x", "datatype": "FP32", "shape": [-1, 64]},
    "output": {"name": "logits", "datatype": "FP32", "shape": [-1, 2]},
    "labels": ["0", "1"],
    "domain": {"min": 0, "max": 1},
    "screening": {"eps": 0.03},
    "batching": {"max_rows": 64, "delay_us": 300, "queue_rows": 4096},
}


def written(**changes: Any) -> bytes:
    """The document as a person might lay it out, with some members changed."""
    return json.dumps(DOCUMENT | changes, indent=2).encode()


def model_config(**changes: Any) -> ModelConfig:
    return ModelConfig.read(written(**changes))
