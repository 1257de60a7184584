"""A version's golden inputs and expected answers, as a client sends and receives them.

They are read from two of its files, `model.json` and `golden.safetensors`, whose bytes have been
held against the signed manifest. The format of the second is simple enough to be read without the
libraries of a server: https://github.com/huggingface/safetensors#format.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sealgate.client.request import InferResult, PreparedRequest, digest_of
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.probes import PROBES
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, write_inputs
from sealgate.trust import canonical

Array = npt.NDArray[Any]

MODEL, GOLDEN_ROWS = ROW_FILES = ("model.json", "golden.safetensors")
_DATA_TYPES = {"F32": "<f4", "I64": "<i8"}
_SIZE_BYTES = 8
# Where a row of tokens holds none.
_NO_TOKEN = -1
_IDS, _MASK = "input_ids", "attention_mask"
_LABEL, _ROUNDED = "label", "rounded"


@dataclass(frozen=True, slots=True)
class GoldenRows:
    """Inputs by name, each [n, …], and the answers float32 [n, C] expected in `output`.

    A model that takes texts has those of `sealgate.probes.PROBES` that it need not cut short: of
    its other golden inputs the file holds tokens, which the gateway does not take. It may be too
    narrow for any of them.
    """

    inputs: Mapping[str, Array]
    output: str
    answers: Array
    decision: Mapping[str, Any] = field(default_factory=dict)
    """The section `answer` of model.json; empty for classes."""

    # A version that answers has answers to compare.
    incomparable = None

    @classmethod
    def of(cls, model: bytes, golden: bytes) -> Self:
        """Raises SealgateError(FORMAT_REFUSED) for files that are not of these forms."""
        tensors = read_tensors(golden)
        try:
            document = json.loads(model)
            given, output = document["input"], str(document["output"]["name"])
            name, datatype = str(given["name"]), str(given["datatype"])
            if datatype == "BYTES":
                x, answers = _texts(tensors["probe"], tensors["probe_logits"])
            else:
                x, answers = tensors["x"], tensors["logits"]
            inputs = _inputs(name, datatype, x)
            decision = dict(document.get("answer", {}))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SealgateError(Reason.FORMAT_REFUSED, f"golden: {error!r}") from error
        if len(x) != len(answers) or answers.ndim != 2 or not (len(x) or datatype == "BYTES"):
            raise SealgateError(Reason.FORMAT_REFUSED, "golden: not an answer for each input")
        return cls(inputs, output, answers, decision)

    def rows(self, most: int) -> Iterator[tuple[dict[str, Array], Array]]:
        """At most so many rows, one by one and evenly spread: inputs [1, …], answer [1, C]."""
        places = np.linspace(0, len(self.answers) - 1, min(most, len(self.answers)))
        for place in places.round().astype(int):
            row = slice(place, place + 1)
            yield {name: data[row] for name, data in self.inputs.items()}, self.answers[row]

    def questions(self, model: str, alias: str, most: int) -> Iterator[tuple[PreparedRequest, Any]]:
        """`rows`, as questions to what the alias names."""
        for inputs, expected in self.rows(most):
            yield PreparedRequest.of(model, inputs, alias=alias), expected

    def compare(self, answer: InferResult, expected: Any, tolerance: float) -> tuple[bool, float]:
        """Whether the answer is as expected, and by how much it is off at most. Where the policy
        lets no more than labels out, those are compared.
        """
        if self.output not in answer.outputs:
            return self._reduced(answer, expected, tolerance), 0.0
        given = np.asarray(answer[self.output], np.float64)
        if given.shape != expected.shape:
            return False, 0.0
        same = bool(np.allclose(given, expected, rtol=tolerance, atol=tolerance))
        return same, float(np.abs(given - expected).max())

    def _reduced(self, answer: InferResult, expected: Array, tolerance: float) -> bool:
        """Whether labels, or rounded numbers, are as expected."""
        if self.decision.get("kind") == "numbers":
            given = answer.outputs.get(_ROUNDED)
            if given is None or given.shape != expected.shape:
                return False
            near = np.array(self.decision["tolerance"]) / 2 + tolerance * (1 + np.abs(expected))
            return bool((np.abs(given - expected) <= near).all())
        labels = expected.argmax(axis=-1)
        if "threshold" in self.decision:
            labels = expected > self.decision["threshold"]
        return bool(np.array_equal(answer.outputs.get(_LABEL, ()), labels))


def read_tensors(data: bytes) -> dict[str, Array]:
    """The tensors of a safetensors file, read-only. Raises SealgateError(FORMAT_REFUSED)."""
    try:
        begin = _SIZE_BYTES + int.from_bytes(data[:_SIZE_BYTES], "little")
        header = json.loads(data[_SIZE_BYTES:begin])
        found = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, end = entry["data_offsets"]
            raw = data[begin + first : begin + end]
            found[name] = np.frombuffer(raw, _DATA_TYPES[entry["dtype"]]).reshape(entry["shape"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, f"golden: {error!r}") from error
    return found


def _texts(probe: Array, answers: Array) -> tuple[Array, Array]:
    """The probes [n] that leave room in their rows of tokens [n, s], with their answers."""
    if probe.ndim != 2 or len(probe) != len(PROBES) or len(answers) != len(PROBES):
        raise ValueError("not an answer for each probe")
    whole = probe[:, -1] == _NO_TOKEN
    return np.array([text.encode() for text in PROBES], object)[whole], answers[whole]


def _inputs(name: str, datatype: str, x: Array) -> dict[str, Array]:
    if datatype == "INT64":
        held = x != _NO_TOKEN
        return {_IDS: np.where(held, x, 0), _MASK: held.astype(np.int64)}
    return {name: x}


TERMS, GOLDEN_PROMPTS = PROMPT_FILES = ("generator.json", "golden.json")
_PROMPT, _TEXT, _IDS_prompts = "text_input", "text_output", "token_ids"
# How many tokens of an answer its publisher has kept.
_TOKENS = 16

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GoldenPrompt(PreparedRequest):
    """A prompt of these tokens; its receipt binds prompt and sampling, and of the answer the tokens
    of both and the text (`inference.llm.request`).
    """

    ids: Tokens

    def digest_of_inputs(self, inputs: Mapping[str, Tensor]) -> str:
        """Return the digest of the prompt and the sampling parameters."""
        sampling = {"temperature": 0, "top_p": 1, "stop": [], "seed": 0, "max_tokens": self.most}
        return digest_of([*inputs.values(), Tensor.of_text("sampling", canonical.encode(sampling))])

    def digest_of_outputs(self, outputs: Mapping[str, Tensor]) -> str:
        """Return the digest of the answer and of the prompt's tokens."""
        cut = Tensor.of("prompt_ids", np.array(self.ids, np.int64))
        return digest_of([cut, *outputs.values()])

    @property
    def most(self) -> int:
        """The number of tokens asked for."""
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
        """Raises SealgateError(FORMAT_REFUSED) for files that are not of these forms."""
        try:
            most = min(_TOKENS, int(json.loads(terms)["output_tokens"]))
            found = [
                (str(each["prompt"]), _tokens(each["prompt_ids"]), _tokens(each["ids"]))
                for each in json.loads(golden)["answers"]
            ]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SealgateError(Reason.FORMAT_REFUSED, f"golden: {error!r}") from error
        if most < 1 or not found:
            raise SealgateError(Reason.FORMAT_REFUSED, "golden: nothing to ask")
        return cls(tuple(found), most)

    def questions(self, model: str, alias: str, most: int) -> Iterator[tuple[PreparedRequest, Any]]:
        """At most so many, each with the tokens that are expected."""
        for prompt, cut, ids in self.answers[:most]:
            request = oip.ModelInferRequest(model_name=model)
            request.parameters["alias"].string_param = alias
            request.parameters["max_tokens"].int64_param = self.most
            write_inputs(request, [Tensor.of_text(_PROMPT, prompt.encode())])
            yield GoldenPrompt(request, cut), ids[: self.most]

    def compare(self, answer: InferResult, expected: Any, tolerance: float) -> tuple[bool, float]:
        """Whether these tokens came; a token is off by nothing or is another."""
        return tuple(answer[_IDS_prompts].tolist()) == expected, 0.0


def _tokens(value: Any) -> Tokens:
    return tuple(map(int, value))
