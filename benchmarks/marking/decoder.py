"""A small language model of Python's own manual, which `make bench NAME=watermark` marks."""

import pydoc_data.topics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.marking.subjects import Batch, MarkedNetwork, Neurons, State, heads_of, state_of

_CONTEXT = 64
_WIDTH = 192


class ByteDecoder(nn.Module):
    """Three causal layers over bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(128, _WIDTH)
        self.places = nn.Embedding(_CONTEXT, _WIDTH)
        self.layers = nn.ModuleList(_Block() for _ in range(3))
        self.norm = nn.LayerNorm(_WIDTH)
        self.head = nn.Linear(_WIDTH, 128)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids) + self.places.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        logits: torch.Tensor = self.head(self.norm(x))
        return logits


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name in ("query", "key", "value", "mixed"):
            setattr(self, name, nn.Linear(_WIDTH, _WIDTH))
        self.inner, self.outer = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)
        self.first, self.second = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        query, key, value = (
            part(y).unflatten(-1, (6, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.mixed(mixed.transpose(1, 2).flatten(-2))
        found: torch.Tensor = x + self.outer(functional.gelu(self.inner(self.second(x))))
        return found


def stream() -> tuple[dict[str, str | None], tuple[str, ...]]:
    """The layers that read the residual stream, each with the norm before it, and those that write
    it.
    """
    read: dict[str, str | None] = {"words.weight": None, "places.weight": None}
    written = []
    for layer in range(3):
        at = f"layers.{layer}."
        read |= {f"{at}{name}.weight": f"{at}first.weight" for name in ("query", "key", "value")}
        read[f"{at}inner.weight"] = f"{at}second.weight"
        written += [f"{at}mixed.weight", f"{at}outer.weight"]
    return {**read, "head.weight": "norm.weight"}, tuple(written)


def decoder(seed: int = 0) -> MarkedNetwork:
    """A small language model of Python's own manual; fine-tuned on Python's source code."""
    torch.manual_seed(seed)
    text = _bytes("\n".join(pydoc_data.topics.topics.values()))
    train, test = text[: -_CONTEXT * 400], text[-_CONTEXT * 400 :].reshape(400, -1)
    code = _bytes(Path(functional.__file__).read_text())[: 200 * (_CONTEXT + 1)]
    code_rows = code.reshape(200, -1)
    module = ByteDecoder()
    descent = torch.optim.AdamW(module.parameters(), lr=2e-3)
    for _ in range(500):
        starts = torch.randint(len(train) - _CONTEXT - 1, (32, 1))
        rows = train[starts + torch.arange(_CONTEXT + 1)]
        loss = functional.cross_entropy(module(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        descent.zero_grad()
        loss.backward()
        descent.step()
    neurons = []
    for layer in range(3):
        at = f"layers.{layer}."
        axes = tuple((f"{at}inner.{kind}", 0, 1) for kind in ("weight", "bias"))
        neurons.append(Neurons(4 * _WIDTH, (*axes, (f"{at}outer.weight", 1, 1))))
        neurons += heads_of(at, "query", "key", "value", "mixed", _WIDTH, 6)

    def perplexity() -> float:
        with torch.no_grad():
            logits = module.eval()(test[:, :-1])
            return float(
                torch.exp(functional.cross_entropy(logits.flatten(0, 1), test[:, 1:].flatten()))
            )

    plain = perplexity()

    def cost(changed: State) -> float:
        subject.load(changed)
        return 100 * (perplexity() / plain - 1)

    def other_data(share: float) -> Iterator[Batch]:
        for start in range(0, int(share * len(code_rows)), 20):
            rows = code_rows[start : start + 20]
            yield rows[:, :-1], rows[:, 1:]

    subject = MarkedNetwork(
        "decoder",
        module,
        state_of(module),
        tuple(neurons),
        "% perplexity",
        0.5,
        cost,
        other_data,
        3e-4,
    )
    return subject


def _bytes(text: str) -> torch.Tensor:
    kept = text.encode("ascii", "ignore")
    return torch.from_numpy(np.frombuffer(kept, np.uint8).astype(np.int64))
