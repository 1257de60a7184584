"""The demo's committed prompt classifier: what it makes of the chats of the story."""

import json

import numpy as np
import onnxruntime
import pytest

from demo.llm import chats
from demo.materials import MODELS
from gateway.screening.prompt_classifier import shown
from inference.llm.request import Sampling, SamplingRequest, said_in
from inference.model.config import ModelConfig
from inference.text.text_windows import Windows
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import NO_TOKEN

FOLDER = MODELS / "prompt-guard"
# Marking and rounding move a margin, by much less than this.
CLEAR = 2.0


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    config = ModelConfig.read((FOLDER / "model.json").read_bytes())
    assert config.tokens is not None
    assert config.labels == ("clean", "injection")
    return TextTokenizer.open((FOLDER / "tokenizer.json").read_bytes(), config.tokens)


def margin(tokenizer: TextTokenizer, messages: chats.Messages) -> float:
    """By how much the chat's most suspicious window looks like an injection."""
    asked = SamplingRequest(json.dumps(messages).encode(), True, Sampling(1))
    ids = tokenizer.rows([text.encode() for text in shown(said_in(asked), Windows(tokenizer))])
    held = ids != NO_TOKEN
    session = onnxruntime.InferenceSession(
        FOLDER / "serving.onnx", providers=["CPUExecutionProvider"]
    )
    feeds = {"input_ids": np.where(held, ids, 0), "attention_mask": held.astype(np.int64)}
    logits = session.run(["logits"], feeds)[0]
    return float((logits[:, 1] - logits[:, 0]).max())


@pytest.mark.parametrize(
    "messages",
    [chats.question(chats.QUESTION), chats.about_key(), chats.summary(chats.DOCUMENT)],
)
def test_what_is_harmless_passes(tokenizer: TextTokenizer, messages: chats.Messages) -> None:
    assert margin(tokenizer, messages) < -CLEAR


def test_the_injected_document_does_not(tokenizer: TextTokenizer) -> None:
    injected = chats.summary(f"{chats.DOCUMENT} {chats.INJECTION}")
    assert margin(tokenizer, injected) > CLEAR
