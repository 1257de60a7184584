"""A text classifier: the encoder of BERT (Devlin et al., arXiv 1810.04805) under a linear head.

It is written so that a response graph can be made of it: `forward` takes token ids to their
embeddings, or embeddings to logits, and screening takes its steps between the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# Added to the score of a place that holds no token: its share of the attention becomes exactly 0.
NO_ATTENTION = -1e4
_NORM_EPS = 1e-12


@dataclass(frozen=True, slots=True)
class EncoderSize:
    """How large an encoder is; `inner` is the width of its feed-forward layers."""

    vocabulary: int
    positions: int
    width: int
    inner: int
    layers: int
    heads: int


MINILM = EncoderSize(vocabulary=30522, positions=512, width=384, inner=1536, layers=6, heads=12)


class EncoderLayer(nn.Module):
    """Attention and a feed-forward network, each added to its input and normed."""

    def __init__(self, size: EncoderSize) -> None:
        super().__init__()
        width = size.width
        self.head_width = width // size.heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.mixed = nn.Linear(width, width)
        self.mixed_norm = nn.LayerNorm(width, eps=_NORM_EPS)
        self.inner = nn.Linear(width, size.inner)
        self.outer = nn.Linear(size.inner, width)
        self.outer_norm = nn.LayerNorm(width, eps=_NORM_EPS)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """From x [n, s, width] and bias [n, 1, 1, s] to [n, s, width]."""
        query, key, value = (self.by_head(part(x)) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5)
        return self.behind(x, functional.softmax(scores + bias, -1) @ value)

    def by_head(self, x: torch.Tensor) -> torch.Tensor:
        """From [n, s, width] to [n, heads, s, width of a head]; of all heads, or of a part."""
        return x.unflatten(-1, (-1, self.head_width)).transpose(1, 2)

    def behind(self, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        """From x [n, s, width] and what its heads gathered [n, heads, s, width of a head], on."""
        x = self.mixed_norm(x + self.mixed(mixed.transpose(1, 2).flatten(-2)))
        found: torch.Tensor = self.outer_norm(x + self.outer(functional.gelu(self.inner(x))))
        return found


class TextClassifier(nn.Module):
    """Mean-pools the encoder's output over the tokens and classifies it."""

    def __init__(self, size: EncoderSize, classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.positions, size.width)
        self.norm = nn.LayerNorm(size.width, eps=_NORM_EPS)
        self.layers = nn.ModuleList(EncoderLayer(size) for _ in range(size.layers))
        self.head = nn.Linear(size.width, classes)
        # Keep only the values between layers, and recompute the rest in the backward pass.
        self.checkpointed = False

    def answers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From rows of tokens int64 [n, s] (`inference.text.tokens`) to vectors and logits [n,
        C].
        """
        vectors = self.vectors(x)
        return vectors, self.head(vectors)

    def vectors(self, x: torch.Tensor) -> torch.Tensor:
        """From rows of tokens [n, s] to one vector [n, width] for each text."""
        return self.encode(self.words(x.clamp(min=0)), (x >= 0).to(torch.int64))

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, start: int = 0, end: int = 0
    ) -> torch.Tensor:
        """Ids int64 [n, s] become word embeddings [n, s, width]; these and a mask int64 [n, s],
        with 1 for each token and 0 behind them, become logits [n, C].

        With `start`, x is what left so many layers; with `end`, what leaves so many is returned.
        """
        found: torch.Tensor
        if mask is None:
            found = self.words(x)
        elif end:
            found = self._through(x, mask, start, end)
        else:
            found = self.head(self.encode(x, mask, start))
        return found

    def encode(self, x: torch.Tensor, mask: torch.Tensor, start: int = 0) -> torch.Tensor:
        """From word embeddings [n, s, width], or what left the first `start` layers, to one vector
        [n, width] for each text.
        """
        x = self._through(x, mask, start, len(self.layers))
        held = mask.to(x.dtype)
        return (x * held[:, :, None]).sum(1) / held.sum(1, keepdim=True)

    def _through(self, x: torch.Tensor, mask: torch.Tensor, start: int, end: int) -> torch.Tensor:
        bias = self._bias(mask, x.dtype)
        if not start:
            x = self.norm(x + self.positions.weight[: x.shape[1]])
        for at, layer in enumerate(self.layers[start:end], start + 1):
            # The last layer's values are needed at once: keeping them costs no extra memory.
            if self.checkpointed and self.training and at < len(self.layers):
                x = checkpoint(layer, x, bias, use_reentrant=False)
            else:
                x = layer(x, bias)
        return x

    def _bias(self, mask: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
        """The bias [n, 1, 1 or s, s] that a mask [n, s] adds to the scores."""
        return ((1 - mask.to(kind)) * NO_ATTENTION)[:, None, None, :]


_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "mixed",
    "attention.output.LayerNorm": "mixed_norm",
    "intermediate.dense": "inner",
    "output.dense": "outer",
    "output.LayerNorm": "outer_norm",
}


def load_bert(module: TextClassifier, tensors: Mapping[str, torch.Tensor]) -> None:
    """Take the encoder's weights from a BERT model's, by the names that transformers gives them.

    Every text is of the first of BERT's two segments, so that one's embedding joins the positions'.
    Raises KeyError or RuntimeError for weights of another form.
    """
    state = {
        "words.weight": tensors["embeddings.word_embeddings.weight"],
        "positions.weight": tensors["embeddings.position_embeddings.weight"]
        + tensors["embeddings.token_type_embeddings.weight"][0],
    }
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = tensors[f"embeddings.LayerNorm.{kind}"]
        state[f"head.{kind}"] = getattr(module.head, kind).detach()
        for at in range(len(module.layers)):
            for theirs, ours in _NAMES.items():
                name = f"encoder.layer.{at}.{theirs}.{kind}"
                state[f"layers.{at}.{ours}.{kind}"] = tensors[name]
    module.load_state_dict(state)
