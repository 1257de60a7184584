"""The references of imported checkpoints' graphs: rows and transformers' answers to them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import load_file

from tests.support.builders.models import tiny_checkpoints
from tests.support.builders.models.demo_models import opened
from training.run.import_checkpoint import TOLERANCE

# Rows and tokens, of which none is what graphs are traced at.
SIZES = [(1, 2), (4, 9), (2, 37)]


def rows(count: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [n, s], filled up on the right."""
    generator = torch.Generator().manual_seed(count)
    ids = torch.randint(tiny_checkpoints.VOCABULARY, (count, width), generator=generator)
    lengths = torch.randint(1, width + 1, (count, 1), generator=generator)
    return ids, (torch.arange(width) < lengths).to(torch.int64)


def logits_of(kind: str, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """By transformers' own masks; a decoder's at each row's last token."""
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits if kind == "bert" else logits[torch.arange(len(ids)), mask.sum(1) - 1]


def run(graph: Path, **feeds: torch.Tensor) -> list[np.ndarray]:
    """The graph's outputs; what it does not take is left out."""
    session = opened(graph.read_bytes())
    wanted = {value.name: feeds[value.name].numpy() for value in session.get_inputs()}
    found: list[np.ndarray] = session.run(None, wanted)
    return found


def near(found: np.ndarray, expected: torch.Tensor) -> bool:
    """Within the tolerance that is promised."""
    theirs = expected.detach().numpy()
    most = TOLERANCE * max(1.0, float(np.abs(theirs).max()))
    return found.shape == theirs.shape and bool(np.abs(found - theirs).max() <= most)


def matrices(graph: Path) -> list[str]:
    """Names of float initializers of two dimensions, sorted."""
    return sorted(
        tensor.name
        for tensor in onnx.load(graph).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
    )


def checkpoint_matrices(folder: Path) -> list[str]:
    tensors = load_file(folder / "model.safetensors")
    return sorted(name for name, tensor in tensors.items() if tensor.dim() == 2)
