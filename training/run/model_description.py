"""Writes the `model.json` of a trained or imported model."""

from dataclasses import dataclass
from typing import Any

from inference.model.config import UNBOUNDED, Batching, ModelConfig, TensorSpec, TrainingDataInfo
from inference.runtime.response_contract import IDS
from inference.text.tokens import TokenRules
from sealgate.reasons import Reason, SealgateError
from training.data.run_data import SourceRows
from training.recipe.federated import FederatedRecipe
from training.recipe.recipe import Recipe

_TEXT = TensorSpec("text", "BYTES", (-1,))
_TOKENS = TensorSpec(IDS, "INT64", (-1, -1))
_TEXTS = Batching(max_rows=32, delay_us=300, queue_rows=1024)
_ROWS = Batching(max_rows=64, delay_us=300, queue_rows=1024)
# Screening's step beside the spread of word embeddings, which differs from model to model.
_STEP = 0.03
# What transformers calls a head whose classes exclude one another; None is what it leaves unsaid.
_ONE_OF_MANY = ("single_label_classification", None)


@dataclass(frozen=True, slots=True)
class ImportDescription:
    """What a person says of an imported classifier. `tokens` is the most that a text may have, and
    `eps` screening's step among the word embeddings; 0 leaves either to the checkpoint.
    """

    name: str
    description: str
    use: str
    data: TrainingDataInfo
    tokens: int = 0
    eps: float = 0.0


def describe(asked: Recipe | FederatedRecipe, read: SourceRows) -> ModelConfig:
    """Raises SealgateError(DOCUMENT_MALFORMED) where the recipe's words make no document."""
    model = asked.model
    of_text = read.tokens is not None
    return ModelConfig(
        name=model.name,
        description=model.description,
        intended_use=model.intended_use,
        data=TrainingDataInfo(read.title, read.license),
        input=_TEXT if of_text else TensorSpec("x", "FP32", (-1, *read.x.shape[1:])),
        output=TensorSpec("logits", "FP32", (-1, len(read.names))),
        labels=read.names,
        domain=read.domain,
        eps=model.eps,
        batching=_TEXTS if of_text else _ROWS,
        scaling=read.scaling,
        tokens=read.tokens,
        blocks=not of_text,
        columns=read.columns,
    )


def describe_imported(about: ImportDescription, model: Any, of_text: bool) -> ModelConfig:
    """Of a classifier that transformers loaded: its labels are those of its configuration. With
    `of_text` it takes texts, by a tokenizer of its own, else tokens.

    Raises: CHECKPOINT_REFUSED where its classes do not exclude one another, or a text may not be so
    long; DOCUMENT_MALFORMED where the words make no document.
    """
    config = model.config
    labels = tuple(config.id2label.get(place) for place in range(config.num_labels))
    if len(labels) < 2 or getattr(config, "problem_type", None) not in _ONE_OF_MANY:
        raise _refused("a head that does not choose one of several classes is not published")
    if not all(isinstance(label, str) for label in labels):
        raise _refused("id2label does not name each class")
    most = about.tokens or config.max_position_embeddings
    if most > config.max_position_embeddings:
        raise _refused(f"it takes texts of {config.max_position_embeddings} tokens")
    spread = float(model.get_input_embeddings().weight.detach().std())
    return ModelConfig(
        name=about.name,
        description=about.description,
        intended_use=about.use,
        data=about.data,
        input=_TEXT if of_text else _TOKENS,
        output=TensorSpec("logits", "FP32", (-1, len(labels))),
        labels=labels,
        domain=UNBOUNDED,
        eps=about.eps or float(f"{_STEP * spread:.3g}"),
        batching=_TEXTS,
        tokens=TokenRules.doubling(config.vocab_size, most),
        blocks=False,
    )


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.CHECKPOINT_REFUSED, detail)
