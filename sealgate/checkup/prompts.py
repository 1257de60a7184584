"""A language model's golden prompts as a caller sends them, and the tokens that must come.

They are read from two of its files, `generator.json` and `golden.json`. Greedy generation gives the
same tokens in every process that has loaded the version, so here nothing may be off.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sealgate.client.question import Answer, Question, digest_of
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal
from sealgate.tensors import Tensor, write_inputs
from sealgate.trust import canonical

TERMS, GOLDEN = FILES = ("generator.json", "golden.json")
_PROMPT, _TEXT, _IDS = "text_input", "text_output", "token_ids"
# How many tokens of an answer its publisher has kept.
_TOKENS = 16

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompt(Question):
    """A prompt of these tokens; its receipt binds prompt and sampling, and of the answer the tokens
    of both and the text (`inference.llm.request`).
    """

    ids: Tokens

    def digest_of_inputs(self, inputs: Mapping[str, Tensor]) -> str:
        """Of the prompt and of how tokens are chosen."""
        sampling = {"temperature": 0, "top_p": 1, "stop": [], "seed": 0, "max_tokens": self.most}
        return digest_of([*inputs.values(), _bytes("sampling", canonical.encode(sampling))])

    def digest_of_outputs(self, outputs: Mapping[str, Tensor]) -> str:
        """Of the answer and of the prompt's tokens, by which nobody else was asked."""
        cut = Tensor.of("prompt_ids", np.array(self.ids, np.int64))
        return digest_of([cut, *outputs.values()])

    @property
    def most(self) -> int:
        """How many tokens are asked for."""
        return int(self.request.parameters["max_tokens"].int64_param)


@dataclass(frozen=True, slots=True)
class GoldenPrompts:
    """Prompts, the tokens of each, and those of its answer; `most` are asked for."""

    answers: tuple[tuple[str, Tokens, Tokens], ...]
    most: int

    # A server of OpenAI's protocol takes chats alone, and tells no tokens to compare.
    incomparable = Reason.TENSOR_NAME

    @classmethod
    def of(cls, terms: bytes, golden: bytes) -> Self:
        """Raises Refusal(FORMAT_REFUSED) for files that are not of these forms."""
        try:
            most = min(_TOKENS, int(json.loads(terms)["output_tokens"]))
            found = [
                (str(each["prompt"]), _tokens(each["prompt_ids"]), _tokens(each["ids"]))
                for each in json.loads(golden)["answers"]
            ]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Refusal(Reason.FORMAT_REFUSED, f"golden: {error!r}") from error
        if most < 1 or not found:
            raise Refusal(Reason.FORMAT_REFUSED, "golden: nothing to ask")
        return cls(tuple(found), most)

    def questions(self, model: str, alias: str, most: int) -> Iterator[tuple[Question, Any]]:
        """At most so many, each with the tokens that are expected."""
        for prompt, cut, ids in self.answers[:most]:
            request = oip.ModelInferRequest(model_name=model)
            request.parameters["alias"].string_param = alias
            request.parameters["max_tokens"].int64_param = self.most
            write_inputs(request, [_bytes(_PROMPT, prompt.encode())])
            yield Prompt(request, cut), ids[: self.most]

    def compare(self, answer: Answer, expected: Any, tolerance: float) -> tuple[bool, float]:
        """Whether these tokens came; a token is off by nothing or is another."""
        return tuple(answer[_IDS].tolist()) == expected, 0.0


def _tokens(value: Any) -> Tokens:
    return tuple(map(int, value))


def _bytes(name: str, text: bytes) -> Tensor:
    array = np.empty(1, object)
    array[0] = text
    return Tensor.of(name, array)
