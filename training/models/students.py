"""The networks that a recipe can name as students, for training and export.

One is a small language model of Qwen2's architecture, as transformers computes it. Every place of a
row of tokens except the last is treated as a row whose class is the next token. So it is trained
with the objectives of classifiers (`training.steps.distillation`). Its weights have the names of a
`Qwen2ForCausalLM` checkpoint.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from sealgate.reasons import Reason, SealgateError
from training.data import Rows, SourceRows, vocabulary_size
from training.models import checkpoints
from training.models.encoder import EncoderSize, TextClassifier, load_bert
from training.models.long_encoder import (
    AttentionReach,
    FrequentWordEmbedding,
    lengthened,
    most_frequent,
)
from training.recipe import recipe
from training.recipe.recipe import StudentSection

_AT_ONCE = 32
# Of logits [n, V] and what came [n], a number each [n].
Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Decoder(nn.Module):
    """`heads` heads of attention, of which two share keys and values where their number is even;
    the embeddings are the head's weights too.
    """

    def __init__(
        self, vocabulary: int, positions: int, width: int, layers: int, heads: int
    ) -> None:
        # It takes seconds to import, which no other student needs.
        from transformers import Qwen2Config, Qwen2Model

        super().__init__()
        self.config = Qwen2Config(
            architectures=["Qwen2ForCausalLM"],
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=width * 5 // 2,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads if heads % 2 else heads // 2,
            max_position_embeddings=positions,
            bos_token_id=None,
            eos_token_id=None,
            tie_word_embeddings=True,
        )
        self.model = Qwen2Model(self.config)

    def answers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From rows of tokens int64 [n, s] to vectors [n (s - 1), width], and logits
        [n (s - 1), V] of what comes behind each place but the last.
        """
        states = self.model(input_ids=x, use_cache=False).last_hidden_state[:, :-1].flatten(0, 1)
        return states, functional.linear(states, self.model.embed_tokens.weight)


def following(x: torch.Tensor) -> torch.Tensor:
    """The token behind each place but the last of rows [n, s]: [n (s - 1)]."""
    return x[:, 1:].flatten()


def next_right(decoder: Decoder, x: torch.Tensor) -> float:
    """The share of tokens of rows [n, s] that are the likeliest after the tokens before them."""
    return _mean(decoder, x, lambda logits, y: (logits.argmax(1) == y).float())


def perplexity(decoder: Decoder, x: torch.Tensor) -> float:
    """Of rows [n, s]: e to the mean surprise of each token by those before it in its row."""
    return math.exp(
        _mean(decoder, x, lambda logits, y: functional.cross_entropy(logits, y, reduction="none"))
    )


def _mean(decoder: Decoder, x: torch.Tensor, measure: Measure) -> float:
    was, place = decoder.training, device_of(decoder.eval())
    with torch.no_grad():
        found = torch.cat(
            [
                measure(decoder.answers(part)[1], following(part)).cpu()
                for part in (each.to(place) for each in x.split(_AT_ONCE))
            ]
        )
    decoder.train(was)
    return float(found.double().mean())


class _Headed(nn.Module):
    """Layers under a linear head."""

    body: nn.Sequential
    head: nn.Linear

    def answers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        vectors = self.body(x)
        return vectors, self.head(vectors)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.answers(x)[1]
        return logits


class Perceptron(_Headed):
    """Fully connected layers on rows of `inputs` numbers."""

    def __init__(self, inputs: int, width: int, layers: int, classes: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Flatten()]
        for size in (inputs, *[width] * (layers - 1)):
            parts += [nn.Linear(size, width), nn.ReLU()]
        self.body = nn.Sequential(*parts)
        self.head = nn.Linear(width, classes)


class Convolution(_Headed):
    """`layers` times a 3 x 3 convolution, and a step to half the side: 2 x 2 maxima or, with
    `strides`, a second convolution of stride 2. Each has twice the channels of the one before, the
    last `width`. Rows are images [channels, side, side] or the pixels [side * side] of one.

    A maximum passes on whichever of four places an attack moves furthest, so a network without any
    withstands more (`docs/reference/benchmarks.md`, screening as shipped).
    """

    def __init__(
        self, row: tuple[int, ...], width: int, layers: int, classes: int, strides: bool = False
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        if len(row) == 1:
            row = (1, math.isqrt(row[0]), math.isqrt(row[0]))
            parts.append(nn.Unflatten(1, row))
        channels, side = row[0], row[1]
        for at in reversed(range(layers)):
            wide = max(width >> at, 1)
            parts += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU()]
            if strides:
                parts += [nn.Conv2d(wide, wide, 3, stride=2, padding=1), nn.ReLU()]
            else:
                parts.append(nn.MaxPool2d(2))
            channels, side = wide, (side + strides) // 2
        self.body = nn.Sequential(*parts, nn.Flatten())
        self.head = nn.Linear(channels * side * side, classes)


def make(asked: StudentSection, read: SourceRows, seen: Rows | None = None) -> nn.Module:
    """The network, with weights at random (of torch's generator) or of the encoder at its path.

    `seen` are rows of tokens [n, s], of which an encoder with a vocabulary keeps the most frequent.
    Raises: RECIPE_INVALID, CHECKPOINT_REFUSED.
    """
    classes = len(read.names)
    if asked.kind == recipe.ENCODER:
        module = _encoder(asked, read, seen, classes)
        return _windowed(module, asked, read) if asked.attention == recipe.WINDOW else module
    if asked.kind == recipe.DECODER:
        size = vocabulary_size(read.tokenizer or b"")
        return Decoder(size, read.x.shape[1], asked.width, asked.layers, asked.heads)
    row = read.x.shape[1:]
    if asked.kind == recipe.PERCEPTRON:
        return Perceptron(int(torch.Size(row).numel()), asked.width, asked.layers, classes)
    side = math.isqrt(row[-1]) if len(row) == 1 else row[-1]
    if side >> asked.layers == 0:
        raise SealgateError(Reason.RECIPE_INVALID, f"{asked.layers} layers leave nothing of {row}")
    return Convolution(row, asked.width, asked.layers, classes, asked.strides)


def _encoder(
    asked: StudentSection, read: SourceRows, seen: Rows | None, classes: int
) -> TextClassifier:
    if asked.path is not None:
        return encoder_from(asked.path, classes, asked.first_layers)
    if read.tokens is None:
        raise SealgateError(Reason.RECIPE_INVALID, "an encoder takes texts")
    positions = max(read.tokens.most, 32)
    size = EncoderSize(
        read.tokens.vocabulary,
        positions,
        asked.width,
        4 * asked.width,
        asked.layers,
        asked.heads,
    )
    if not asked.vocabulary:
        return TextClassifier(size, classes)
    if seen is None:
        raise ValueError("a vocabulary is of the rows that are seen")
    kept = most_frequent(seen, asked.vocabulary)
    module = TextClassifier(replace(size, vocabulary=len(kept) + 1), classes)
    module.words = FrequentWordEmbedding(kept, size.vocabulary, asked.width)
    return module


def _windowed(module: TextClassifier, asked: StudentSection, read: SourceRows) -> TextClassifier:
    """The same, which attends by windows in texts that are long enough."""
    most = max(read.x.shape[1], 32)
    reach = AttentionReach(asked.whole, asked.block)
    return lengthened(module, most + -most % asked.block, reach)


def encoder_from(folder: Path, classes: int, first_layers: int = 0) -> TextClassifier:
    """A BERT that was imported, or its first layers (0: all), under a new head.

    Raises: CHECKPOINT_REFUSED for another family; RECIPE_INVALID where it has fewer layers.
    """
    config = checkpoints.read_config(folder)
    if config.get("model_type") != "bert":
        raise SealgateError(Reason.CHECKPOINT_REFUSED, "only a BERT can be a student's beginning")
    names = ("vocab_size", "max_position_embeddings", "hidden_size", "intermediate_size")
    try:
        sizes = [config[name] for name in (*names, "num_hidden_layers", "num_attention_heads")]
        size = EncoderSize(*sizes)
        if first_layers > size.layers:
            detail = f"the encoder has {size.layers} layers"
            raise SealgateError(Reason.RECIPE_INVALID, detail)
        module = TextClassifier(replace(size, layers=first_layers or size.layers), classes)
        load_bert(module, _unprefixed(folder))
    except (KeyError, RuntimeError, TypeError) as error:
        raise SealgateError(
            Reason.CHECKPOINT_REFUSED, "its weights are not those of a BERT"
        ) from error
    return module


def _unprefixed(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return {name.removeprefix("bert."): tensor.float() for name, tensor in tensors.items()}


def vector_width(module: nn.Module) -> int:
    """How wide the vectors are on which a student's head decides."""
    if isinstance(module, Decoder):
        return int(module.config.hidden_size)
    return int(module.get_submodule("head").get_parameter("weight").shape[1])


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are."""
    return next(module.parameters()).device


def logits_of(module: nn.Module, x: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """Logits [n, C], on the CPU, of rows [n, ...], in evaluation mode."""
    was, place = module.training, device_of(module.eval())
    with torch.no_grad():
        parts = (part.to(place) for part in x.split(batch))
        found = torch.cat([module.answers(part)[1].cpu() for part in parts])
    module.train(was)
    return found


def accuracy(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """The share of rows that the module gets right; a decoder's rows are all places of x [n, s]."""
    if isinstance(module, Decoder):
        return next_right(module, x)
    return float((logits_of(module, x).argmax(1) == y).float().mean())


def probabilities(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The module's probabilities for rows, [n, C]."""
    return functional.softmax(logits_of(module, x), 1)
