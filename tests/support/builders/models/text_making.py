"""Trains and writes the small text model: `python -m tests.support.builders.models.text_making`.
Takes a minute.
"""

import numpy as np
import torch
from safetensors.numpy import save

from inference.text.tokens import NO_TOKEN
from tests.support.builders.models.text_models import (
    DATA,
    FOLDER,
    config,
    rows_of,
    sentences,
    tokenizer_json,
)
from training.export.text import export_text_response, export_text_serving
from training.models.encoder import EncoderSize, TextClassifier

SIZE = EncoderSize(vocabulary=128, positions=32, width=32, inner=128, layers=2, heads=2)
_TEXTS, _BATCH, _STEPS = 800, 80, 60
_SLICES = {"fit": (2, 200), "calibration": (3, 320), "test": (4, 200)}


def trained() -> TextClassifier:
    torch.manual_seed(1)
    module = TextClassifier(SIZE, 2)
    texts, labels = sentences(1, _TEXTS)
    rows, y = torch.from_numpy(rows_of(texts)), torch.from_numpy(labels)
    mask = (rows != NO_TOKEN).to(torch.int64)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for step in range(_STEPS):
        batch = slice(step * _BATCH % _TEXTS, step * _BATCH % _TEXTS + _BATCH)
        logits = module(module(rows[batch].clamp(min=0)), mask[batch])
        loss = torch.nn.functional.cross_entropy(logits, y[batch], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


def main() -> None:
    torch.set_num_threads(1)
    module = trained()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "model.json").write_bytes(config().encode())
    (FOLDER / "serving.onnx").write_bytes(export_text_serving(module))
    (FOLDER / "response.onnx").write_bytes(export_text_response(module))
    (FOLDER / "tokenizer.json").write_bytes(tokenizer_json())
    tensors = {}
    for name, (seed, count) in _SLICES.items():
        texts, labels = sentences(seed, count)
        tensors |= {f"x_{name}": rows_of(texts), f"y_{name}": labels.astype(np.int64)}
    DATA.write_bytes(save(tensors))


if __name__ == "__main__":
    main()
