"""A version's golden inputs and answers as a caller sends and hears them.

They are read from two of its files, `model.json` and `golden.safetensors`, whose bytes have been
held against the signed manifest. The format of the second is simple enough to be read without the
libraries of a server: https://github.com/huggingface/safetensors#format.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sealgate.client.question import Answer, Question
from sealgate.probes import PROBES
from sealgate.reasons import Reason, Refusal

Array = npt.NDArray[Any]

MODEL, GOLDEN = FILES = ("model.json", "golden.safetensors")
_DATA_TYPES = {"F32": "<f4", "I64": "<i8"}
_SIZE_BYTES = 8
# Where a row of tokens holds none.
_NO_TOKEN = -1
_IDS, _MASK = "input_ids", "attention_mask"
_LABEL = "label"


@dataclass(frozen=True, slots=True)
class GoldenRows:
    """Inputs by name, each [n, …], and the answers float32 [n, C] expected in `output`.

    A model that takes texts has those of `sealgate.probes.PROBES` that it need not cut short: of
    its other golden inputs the file holds tokens, which the front door does not take. It may be too
    narrow for any of them.
    """

    inputs: Mapping[str, Array]
    output: str
    answers: Array

    # Whoever answers has answers to compare.
    incomparable = None

    @classmethod
    def of(cls, model: bytes, golden: bytes) -> Self:
        """Raises Refusal(FORMAT_REFUSED) for files that are not of these forms."""
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
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Refusal(Reason.FORMAT_REFUSED, f"golden: {error!r}") from error
        if len(x) != len(answers) or answers.ndim != 2 or not (len(x) or datatype == "BYTES"):
            raise Refusal(Reason.FORMAT_REFUSED, "golden: not an answer for each input")
        return cls(inputs, output, answers)

    def rows(self, most: int) -> Iterator[tuple[dict[str, Array], Array]]:
        """At most so many rows, one by one and evenly spread: inputs [1, …], answer [1, C]."""
        places = np.linspace(0, len(self.answers) - 1, min(most, len(self.answers)))
        for place in places.round().astype(int):
            row = slice(place, place + 1)
            yield {name: data[row] for name, data in self.inputs.items()}, self.answers[row]

    def questions(self, model: str, alias: str, most: int) -> Iterator[tuple[Question, Any]]:
        """`rows`, as questions to what the alias names."""
        for inputs, expected in self.rows(most):
            yield Question.of(model, inputs, alias=alias), expected

    def compare(self, answer: Answer, expected: Any, tolerance: float) -> tuple[bool, float]:
        """Whether the answer is as expected, and by how much it is off at most. Where the policy
        lets no more than labels out, those are compared.
        """
        if self.output not in answer.outputs:
            labels = answer.outputs.get(_LABEL, ())
            return bool(np.array_equal(labels, expected.argmax(axis=-1))), 0.0
        given = np.asarray(answer[self.output], np.float64)
        if given.shape != expected.shape:
            return False, 0.0
        same = bool(np.allclose(given, expected, rtol=tolerance, atol=tolerance))
        return same, float(np.abs(given - expected).max())


def read_tensors(data: bytes) -> dict[str, Array]:
    """The tensors of a safetensors file, read-only. Raises Refusal(FORMAT_REFUSED)."""
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
        raise Refusal(Reason.FORMAT_REFUSED, f"golden: {error!r}") from error
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
