"""`model.json`: the signed description and configuration of a version.

    {"type": "sealgate/model/v1", "name", "description", "intended_use",
     "data": {"name", "license"},
     "input": {"name", "datatype": "FP32", "shape": [-1, ...]},
     "output": {"name", "datatype": "FP32", "shape": [-1, C]},
     "labels": [C texts], "domain": {"min", "max"}, "precision": "float32",
     "screening": {...} (inference.model.screening_section),
     "batching": {...} (inference.batching.limits),
     "scaling": {"offset": [...], "scale": [...]},
     "columns": [...] (inference.model.columns), "answer": {...} (inference.model.decisions)}

A text model takes tokens through one of two inputs and has no `domain`. `tokens` says how texts
are represented (inference.text.tokens):

    "input": {"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]}, with `attention_mask`
             as a second input; or {"name", "datatype": "BYTES", "shape": [-1] or [-1, 1]}: UTF-8
             text, which the version's tokenizer.json splits into tokens
    "tokens": {"vocabulary", "buckets": [...], "overlong": "truncate" or "refuse", "text_bytes"}

`precision` is "float32" if nothing was quantized, and otherwise absent.

`scaling` may be absent. It says how a raw measurement became an input: (raw - offset) / scale,
clipped to the domain, with one number for all elements of a row or one for each. The gateway does
not apply it. `columns` may be absent; it describes the places of one-dimensional rows. A model that
predicts numbers or several labels has `answer`, and its `labels` name the answer's elements. A
model that takes several tensors, or other types than FP32, has `inputs`; its `input` is the row
that the gateway makes of them (inference.model.request_tensors), and that row has `columns`.
"""

import json
import math
import operator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from inference.batching import Batching
from inference.model.columns import Column, RowRules, decode_columns, number, numbers
from inference.model.decisions import Classes, Decision, decode_decision
from inference.model.request_tensors import (
    BYTES,
    FP32,
    INT64,
    TOKENS_SHAPE,
    RequestTensor,
    TensorSpec,
    decode_tensors,
)
from inference.model.screening_section import ScreeningSection
from inference.runtime import response_contract
from inference.text.tokens import TokenRules
from sealgate.reasons import Reason
from sealgate.trust import canonical, fields
from sealgate.trust.fields import check_name
from sealgate.trust.receipts.answer_entry import FLOAT32, INT8

CLASSES = Classes()

TYPE = "sealgate/model/v1"
_REQUIRED = (
    "name",
    "description",
    "intended_use",
    "data",
    "input",
    "output",
    "labels",
    "screening",
    "batching",
)
_OPTIONAL = ("scaling", "columns", "precision", "answer", "inputs")


@dataclass(frozen=True, slots=True)
class TrainingDataInfo:
    """The training data's name and licence."""

    name: str
    license: str


@dataclass(frozen=True, slots=True)
class InputDomain:
    """The range of every element of an input."""

    min: float
    max: float

    def __post_init__(self) -> None:
        if not self.min < self.max:
            raise fields.malformed("a domain must have a size")


# Embeddings have no bounds; float32 ends somewhere.
UNBOUNDED = InputDomain(-3e38, 3e38)


@dataclass(frozen=True, slots=True)
class InputScaling:
    """How raw measurements became inputs: (raw - offset) / scale, clipped to the domain."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scale or len(self.offset) != len(self.scale) or 0.0 in self.scale:
            raise fields.malformed("a scaling needs as many offsets as scales, none of them zero")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The whole document, checked. `table` has the rules for rows, if columns are stated.

    If not `quantized`, the model answers in float32. `eps`, `blocks`, `relative`, `differences` and
    `image` are the fields of `ScreeningSection`.
    """

    name: str
    description: str
    intended_use: str
    data: TrainingDataInfo
    input: TensorSpec
    output: TensorSpec
    labels: tuple[str, ...]
    domain: InputDomain
    eps: float
    batching: Batching
    scaling: InputScaling | None = None
    tokens: TokenRules | None = None
    blocks: bool = True
    columns: tuple[Column, ...] = ()
    relative: bool = False
    quantized: bool = True
    differences: bool = False
    image: tuple[int, int] | None = None
    decision: Decision = CLASSES
    tensors: tuple[RequestTensor, ...] = ()
    table: RowRules | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        check_name(self.name, Reason.DOCUMENT_MALFORMED)
        if (self.input.datatype == FP32) is not (self.tokens is None):
            raise fields.malformed("the section tokens is for text models, which need it")
        if self.tokens is None:
            self._check_numbers()
        elif self.scaling or self.domain != UNBOUNDED or self.columns or self.image or self.tensors:
            raise fields.malformed("a text model has neither scaling, domain, columns nor images")
        elif self.input.datatype == INT64 and self.input.name != response_contract.IDS:
            raise fields.malformed(f"tokens come in {response_contract.IDS}")
        if self.output.datatype != FP32 or self.output.row != (len(self.labels),):
            raise fields.malformed("there must be a label for each element of an output's row")
        least = 2 if self.decision == CLASSES else 1
        if len(self.labels) < least or len(fields.unique(self.labels)) != len(self.labels):
            raise fields.malformed("there must be two labels or more")
        if self.tokens is not None and self.decision != CLASSES:
            raise fields.malformed("a text model answers classes")
        if self.decision.width not in (None, len(self.labels)):
            raise fields.malformed("an answer's levels are as wide as the output")
        if not 0 < self.eps <= self.domain.max - self.domain.min:
            raise fields.malformed("screening's step must be positive and fit the domain")

    def _check_numbers(self) -> None:
        if not self.blocks:
            raise fields.malformed("only a text model may say that its verdicts do not block")
        elements = math.prod(self.input.row)
        if self.scaling is not None and len(self.scaling.scale) not in (1, elements):
            raise fields.malformed("a scaling has one number, or one for each element")
        if self.columns:
            if self.input.row != (len(self.columns),):
                raise fields.malformed("there is a column for each place of a row")
            scaling = self.scaling or InputScaling((0.0,), (1.0,))
            domain = self.domain.min, self.domain.max
            table = RowRules.of(self.columns, domain, scaling.offset, scaling.scale)
            object.__setattr__(self, "table", table)
        if self.image is not None and (self.columns or not self._holds_images(elements)):
            raise fields.malformed("a row is not one or more images of that size")
        if self.tensors:
            places = sum(tensor.places for tensor in self.tensors)
            if self.input.row != (places,) or not self.columns:
                raise fields.malformed("a row of several tensors has a column for each place")
        if self.relative and (not self.columns or self.eps > 1):
            raise fields.malformed("steps in units of columns are at most 1 and need columns")

    def _holds_images(self, elements: int) -> bool:
        """Whether the pixels of each image are contiguous: channels come first."""
        size = math.prod(self.image or ())
        inner = accumulate(reversed(self.input.row), operator.mul)
        return elements % size == 0 and (len(self.input.row) == 1 or size in inner)

    @property
    def arithmetic(self) -> str:
        """The arithmetic of its answers, as audit records name it."""
        return INT8 if self.quantized else FLOAT32

    @property
    def is_text(self) -> bool:
        """Whether it takes texts, and so has a tokenizer."""
        return self.input.datatype == BYTES

    @property
    def inputs(self) -> tuple[TensorSpec | RequestTensor, ...]:
        """The tensors of a request: `tensors` if stated, else the input, with a mask for tokens."""
        if self.tensors:
            return self.tensors
        if self.input.datatype != INT64:
            return (self.input,)
        return (self.input, TensorSpec(response_contract.MASK, INT64, TOKENS_SHAPE))

    def encode(self) -> bytes:
        """Return the canonical JSON document."""
        screening = ScreeningSection(
            self.eps, self.blocks, self.relative, self.differences, self.image
        )
        value: dict[str, Any] = {
            "type": TYPE,
            "name": self.name,
            "description": self.description,
            "intended_use": self.intended_use,
            "data": {"name": self.data.name, "license": self.data.license},
            "input": self.input.encode(),
            "output": self.output.encode(),
            "labels": list(self.labels),
            "screening": screening.encode(self.tokens is not None),
            "batching": self.batching.encode(),
        }
        if self.tokens is None:
            value["domain"] = {"min": self.domain.min, "max": self.domain.max}
        else:
            value["tokens"] = self.tokens.encode()
        if not self.quantized:
            value["precision"] = FLOAT32
        if self.scaling is not None:
            value["scaling"] = {
                "offset": list(self.scaling.offset),
                "scale": list(self.scaling.scale),
            }
        if (answer := self.decision.encode()) is not None:
            value["answer"] = answer
        if self.tensors:
            value["inputs"] = [tensor.encode() for tensor in self.tensors]
        if self.columns:
            value["columns"] = [column.encode() for column in self.columns]
        return canonical.encode(value)

    @classmethod
    def decode(cls, data: bytes) -> "ModelConfig":
        """Read what `encode` wrote; anything else raises SealgateError(DOCUMENT_MALFORMED)."""
        config = _config(canonical.decode(data))
        if config.columns and config.encode() != data:
            raise fields.malformed("unstated fields of a column must be absent")
        return config

    @classmethod
    def read(cls, data: bytes) -> "ModelConfig":
        """Read a document that a person wrote: any layout of JSON, the same fields.

        For source folders only: a version's file has the bytes that `encode` returns.
        Raises SealgateError(DOCUMENT_MALFORMED).
        """
        try:
            value = json.loads(data.decode("utf-8"), object_pairs_hook=fields.unique_members)
        except (ValueError, RecursionError) as error:
            raise fields.malformed(f"not JSON: {type(error).__name__}") from error
        return _config(value)


def _config(value: Any) -> ModelConfig:
    given = value if isinstance(value, dict) else {}
    text = "tokens" in given
    kind = "tokens" if text else "domain"
    stated = [name for name in _OPTIONAL if name in given]
    top = fields.record(value, (*_REQUIRED, kind, *stated), TYPE)
    screening = ScreeningSection.decode(top["screening"], text)
    if top.get("precision", FLOAT32) != FLOAT32:
        raise fields.malformed('"precision" is stated only if it is float32')
    return ModelConfig(
        name=fields.text(top["name"]),
        description=fields.text(top["description"]),
        intended_use=fields.text(top["intended_use"]),
        data=_data(top["data"]),
        input=TensorSpec.decode(top["input"]),
        output=TensorSpec.decode(top["output"]),
        labels=fields.texts(top["labels"]),
        domain=UNBOUNDED if text else _domain(top["domain"]),
        eps=screening.eps,
        batching=Batching.decode(top["batching"]),
        scaling=_input_scaling(top["scaling"]) if "scaling" in stated else None,
        tokens=TokenRules.decode(top["tokens"]) if text else None,
        blocks=screening.blocks,
        columns=decode_columns(top["columns"]) if "columns" in stated else (),
        relative=screening.relative,
        differences=screening.differences,
        quantized="precision" not in stated,
        image=screening.image,
        decision=decode_decision(top["answer"]) if "answer" in stated else CLASSES,
        tensors=decode_tensors(top["inputs"]) if "inputs" in stated else (),
    )


def _data(value: Any) -> TrainingDataInfo:
    item = fields.record(value, ("name", "license"))
    return TrainingDataInfo(fields.text(item["name"]), fields.text(item["license"]))


def _domain(value: Any) -> InputDomain:
    item = fields.record(value, ("min", "max"))
    return InputDomain(number(item["min"]), number(item["max"]))


def _input_scaling(value: Any) -> InputScaling:
    item = fields.record(value, ("offset", "scale"))
    return InputScaling(numbers(item["offset"]), numbers(item["scale"]))
