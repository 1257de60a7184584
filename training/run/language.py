"""Runs whose student is a language model: their rows, teacher and results.

The results are a folder in Hugging Face's layout, for `sealgate model publish-generator`:

    OUT/model/         config.json, model.safetensors, tokenizer.json, provenance.json
    OUT/prompts.json   beginnings of the slice `calibration`, for --prompts
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from tokenizers import Tokenizer

from inference.llm.terms import CONFIG, TOKENIZER
from inference.runtime.settings import CPU
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from training.data import TRAIN, RunData, SourceRows
from training.models import checkpoints, families
from training.models.students import Decoder, following, perplexity
from training.recipe import recipe
from training.recipe.recipe import SliceSizes, TeacherSection
from training.run.plots import RunResults
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.teachers import tokenizer_in

WEIGHTS, PROMPTS = "model.safetensors", "prompts.json"
_PROMPT_TOKENS = 16
Ask = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From rows of tokens [n, s] to logits [n (s - 1), V] and hidden vectors [n (s - 1), W]."""


@dataclass(frozen=True, slots=True)
class ProseTask(TaughtRows):
    """Rows of tokens; `ask` gives what a teacher says of some, each time anew, since that of all of
    them would not fit anywhere. Its hidden vectors are `width` wide.
    """

    ask: Ask | None = None
    width: int | None = None

    @property
    def taught(self) -> bool:
        return self.ask is not None

    @property
    def vector_width(self) -> int | None:
        return self.width

    def take(self, places: torch.Tensor) -> TrainingBatch:
        """The rows at `places` [n], each place in them with the class that comes behind it."""
        x = self.rows.x[places]
        if self.ask is None:
            return TrainingBatch(x, following(x))
        return TrainingBatch(x, following(x), *self.ask(x))

    def labelled(self) -> TaughtRows:
        """All: what comes next is known."""
        return self


def read_prose(asked: SliceSizes, tokenizer: bytes | None) -> SourceRows:
    """A text file in rows of `asked.tokens` tokens; what is left at its end is left out.

    Raises: RECIPE_INVALID without a tokenizer, FORMAT_REFUSED for another kind of file in its
    place; TRAINING_DATA for what is not UTF-8.
    """
    if tokenizer is None:
        raise SealgateError(Reason.RECIPE_INVALID, "[data] prose needs a tokenizer")
    data = asked.place.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise SealgateError(Reason.TRAINING_DATA, f"{asked.place.name} is not UTF-8") from error
    ids = np.array(opened(tokenizer).encode(text, add_special_tokens=False).ids, np.int64)
    x = ids[: len(ids) // asked.tokens * asked.tokens].reshape(-1, asked.tokens)
    return SourceRows(
        x=x,
        y=np.zeros(len(x), np.int64),
        names=(),
        title=asked.title or asked.place.name,
        license=asked.license or "unknown",
        files={asked.place.name: sha256(data)},
        tokenizer=tokenizer,
    )


def opened(tokenizer: bytes) -> Tokenizer:
    """Raises FORMAT_REFUSED."""
    try:
        return Tokenizer.from_buffer(tokenizer)
    except Exception as error:
        # The library raises nothing narrower.
        raise SealgateError(Reason.FORMAT_REFUSED, "not a tokenizer.json") from error


def corpus(
    asked: TeacherSection, material: RunData, device: str = CPU
) -> tuple[TaughtRows, dict[str, str]]:
    """The training rows and whom to ask about them, on torch's `device`; and the teacher's digest,
    by name.

    Raises: RECIPE_INVALID for a teacher of other tokens, CHECKPOINT_REFUSED.
    """
    x = torch.from_numpy(np.ascontiguousarray(material.slices[TRAIN][0]))
    rows = TrainingBatch(x, torch.zeros(len(x), dtype=torch.int64))
    if asked.kind == recipe.NOBODY or asked.path is None:
        return ProseTask(rows), {}
    imported = checkpoints.read_imported(asked.path)
    if families.family(asked.path) != families.DECODER:
        raise SealgateError(Reason.RECIPE_INVALID, "a decoder needs a decoder as teacher")
    if tokenizer_in(asked.path) != material.read.tokenizer:
        raise SealgateError(Reason.RECIPE_INVALID, "the teacher uses another tokenizer")
    model = families.load(asked.path).to(device)
    size = opened(material.read.tokenizer or b"").get_vocab_size()
    if model.config.vocab_size < size:
        raise SealgateError(
            Reason.RECIPE_INVALID, f"the teacher knows {model.config.vocab_size} tokens"
        )
    task = ProseTask(rows, ask_of(model, size), model.config.hidden_size)
    return task, {f"checkpoint {imported.origin}": imported.digest}


def ask_of(model: Any, vocabulary: int) -> Ask:
    """A function for a transformers decoder's logits behind each place but the last, over so many
    tokens, and the vectors that they come from.
    """

    def ask(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            told = model.model(input_ids=x.to(model.device), use_cache=False).last_hidden_state
            vectors = told[:, :-1].flatten(0, 1)
            return model.lm_head(vectors)[:, :vocabulary], vectors

    return ask


def results(student: Decoder, material: RunData) -> RunResults:
    """The folder of what was trained, prompts to publish it with, and its perplexity."""
    tokenizer = material.read.tokenizer or b""
    tested = torch.from_numpy(np.ascontiguousarray(material.slices["test"][0]))
    files = {
        CONFIG: student.config.to_json_string().encode(),
        # Without this word of its maker transformers does not read it.
        WEIGHTS: save(student.state_dict(), metadata={"format": "pt"}),
        TOKENIZER: tokenizer,
    }
    begun = material.slices["calibration"][0][:, :_PROMPT_TOKENS].tolist()
    prompts = [text for text in opened(tokenizer).decode_batch(begun) if text.strip()]
    report = {
        "perplexity": perplexity(student, tested),
        "test_tokens": tested[:, 1:].numel(),
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
    }
    return RunResults(files, (PROMPTS, json.dumps(prompts).encode()), report)
