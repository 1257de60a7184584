"""`model.json`: what a version says of itself, and how it wants to be run.

    {"type": "sealgate/model/v1", "name", "description", "intended_use",
     "data": {"name", "license"},
     "input": {"name", "datatype": "FP32", "shape": [-1, ...]},
     "output": {"name", "datatype": "FP32", "shape": [-1, C]},
     "labels": [C texts], "domain": {"min", "max"}, "screening": {"eps"},
     "batching": {...} (inference.batching),
     "scaling": {"offset": [...], "scale": [...]}}

`screening.eps` is the small step by which the model's response is measured, not an attack's size.
`scaling` may be absent; it says how a raw measurement became an input: (raw - offset) / scale,
clipped to the domain, with one number for all elements of a row or one for each. The gateway does
not apply it.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from inference.batching import Batching
from inference.numbers import number, numbers
from sealgate.reasons import Reason
from sealgate.trust import canonical, fields
from sealgate.trust.names import check_name

TYPE = "sealgate/model/v1"
_REQUIRED = (
    "name",
    "description",
    "intended_use",
    "data",
    "input",
    "output",
    "labels",
    "domain",
    "screening",
    "batching",
)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor's name, Open Inference Protocol data type, and shape with -1 for its rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 128 or not self.name.isprintable():
            raise fields.malformed("a tensor's name is empty, long or unprintable")
        if self.datatype != "FP32":
            raise fields.malformed("a tensor's data type is not FP32")
        if len(self.shape) < 2 or self.shape[0] != -1 or min(self.shape[1:]) < 1:
            raise fields.malformed("a shape must be -1 followed by positive sizes")
        if math.prod(self.shape[1:]) >= 2**31:
            raise fields.malformed("a row has too many elements")

    @property
    def row(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.shape[1:]


@dataclass(frozen=True, slots=True)
class Data:
    """What the model was trained on, and under which licence that is."""

    name: str
    license: str


@dataclass(frozen=True, slots=True)
class Domain:
    """The range of every element of an input."""

    min: float
    max: float

    def __post_init__(self) -> None:
        if not self.min < self.max:
            raise fields.malformed("a domain must have a size")


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
    """The whole document, checked."""

    name: str
    description: str
    intended_use: str
    data: Data
    input: TensorSpec
    output: TensorSpec
    labels: tuple[str, ...]
    domain: Domain
    eps: float
    batching: Batching
    scaling: InputScaling | None = None

    def __post_init__(self) -> None:
        check_name(self.name, Reason.DOCUMENT_MALFORMED)
        if len(self.output.shape) != 2 or len(self.labels) != self.output.shape[1]:
            raise fields.malformed("there must be a label for each element of an output's row")
        if len(self.labels) < 2 or len(fields.unique(self.labels)) != len(self.labels):
            raise fields.malformed("there must be two labels or more")
        if not 0 < self.eps <= self.domain.max - self.domain.min:
            raise fields.malformed("screening's step must be positive and fit the domain")
        elements = math.prod(self.input.row)
        if self.scaling is not None and len(self.scaling.scale) not in (1, elements):
            raise fields.malformed("a scaling has one number, or one for each element")

    def encode(self) -> bytes:
        """Return the canonical JSON document."""
        value: dict[str, Any] = {
            "type": TYPE,
            "name": self.name,
            "description": self.description,
            "intended_use": self.intended_use,
            "data": {"name": self.data.name, "license": self.data.license},
            "input": _spec_value(self.input),
            "output": _spec_value(self.output),
            "labels": list(self.labels),
            "domain": {"min": self.domain.min, "max": self.domain.max},
            "screening": {"eps": self.eps},
            "batching": self.batching.encode(),
        }
        if self.scaling is not None:
            value["scaling"] = {
                "offset": list(self.scaling.offset),
                "scale": list(self.scaling.scale),
            }
        return canonical.encode(value)

    @classmethod
    def decode(cls, data: bytes) -> "ModelConfig":
        """Read what `encode` wrote; anything else raises Refusal(DOCUMENT_MALFORMED)."""
        return _config(canonical.decode(data))

    @classmethod
    def read(cls, data: bytes) -> "ModelConfig":
        """Read a document that a person wrote: any layout of JSON, the same fields.

        For a source folder only: a version's file is what `encode` makes of it.
        Raises Refusal(DOCUMENT_MALFORMED).
        """
        try:
            value = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise fields.malformed(f"not JSON: {type(error).__name__}") from error
        return _config(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields.unique([name for name, _ in pairs])
    return dict(pairs)


def _config(value: Any) -> ModelConfig:
    scaled = isinstance(value, dict) and "scaling" in value
    top = fields.record(value, (*_REQUIRED, "scaling") if scaled else _REQUIRED, TYPE)
    return ModelConfig(
        name=fields.text(top["name"]),
        description=fields.text(top["description"]),
        intended_use=fields.text(top["intended_use"]),
        data=_data(top["data"]),
        input=_spec(top["input"]),
        output=_spec(top["output"]),
        labels=fields.texts(top["labels"]),
        domain=_domain(top["domain"]),
        eps=number(fields.record(top["screening"], ("eps",))["eps"]),
        batching=Batching.decode(top["batching"]),
        scaling=_input_scaling(top["scaling"]) if scaled else None,
    )


def _spec_value(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _spec(value: Any) -> TensorSpec:
    item = fields.record(value, ("name", "datatype", "shape"))
    shape = tuple(fields.integer(size, least=-1) for size in fields.items(item["shape"]))
    return TensorSpec(fields.text(item["name"]), fields.text(item["datatype"]), shape)


def _data(value: Any) -> Data:
    item = fields.record(value, ("name", "license"))
    return Data(fields.text(item["name"]), fields.text(item["license"]))


def _domain(value: Any) -> Domain:
    item = fields.record(value, ("min", "max"))
    return Domain(number(item["min"]), number(item["max"]))


def _input_scaling(value: Any) -> InputScaling:
    item = fields.record(value, ("offset", "scale"))
    return InputScaling(numbers(item["offset"]), numbers(item["scale"]))
