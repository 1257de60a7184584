"""The `model.json` of what a recipe makes."""

from inference.model_config import Batching, Data, ModelConfig, TensorSpec
from training.federated.recipe import FederatedRecipe
from training.material import Read
from training.recipe import Recipe


def describe(asked: Recipe | FederatedRecipe, read: Read) -> ModelConfig:
    """Raises Refusal(DOCUMENT_MALFORMED) where the recipe's words make no document."""
    model = asked.model
    of_text = read.tokens is not None
    return ModelConfig(
        name=model.name,
        description=model.description,
        intended_use=model.intended_use,
        data=Data(read.title, read.license),
        input=TensorSpec("text", "BYTES", (-1,))
        if of_text
        else TensorSpec("x", "FP32", (-1, *read.x.shape[1:])),
        output=TensorSpec("logits", "FP32", (-1, len(read.names))),
        labels=read.names,
        domain=read.domain,
        eps=model.eps,
        batching=Batching(max_rows=32 if of_text else 64, delay_us=300, queue_rows=1024),
        scaling=read.scaling,
        tokens=read.tokens,
        blocks=not of_text,
    )
