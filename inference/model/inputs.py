"""Checks a request's tensors against the version's configuration, and limits its outputs."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.model.config import ModelConfig
from inference.model.request_tensors import joined, parted
from inference.model.tensor_spec import BYTES, INT64
from inference.runtime import response_contract
from inference.text import tokens
from inference.text.tokens import TokenRules, feeds
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor

Array = npt.NDArray[Any]


def model_input(
    config: ModelConfig, tensors: Mapping[str, Tensor], most_rows: int | None = None
) -> Array:
    """The rows [n, …] of a request, checked against the names, types and shapes of the model's
    inputs. By default they are no more than a batch holds. Several tensors become one row.

    Numbers [n, …] lie inside the domain, since screening measures responses only there, and a table
    follows its columns, since its attacks make no other rows. Tokens [n, s] are as in
    `inference.text.tokens`. Texts [n] are bytes.
    Raises: TENSOR_NAME, TENSOR_DATATYPE, TENSOR_SHAPE, TENSOR_RANGE, TENSOR_TEXT, BATCH_TOO_LARGE.
    """
    most = config.batching.max_rows if most_rows is None else most_rows
    if config.tensors:
        if any(tensor.shape[:1] > (most,) for tensor in tensors.values()):
            raise SealgateError(Reason.BATCH_TOO_LARGE)
        return _numbers(config, joined(config.tensors, tensors))
    if len(tensors) != len(config.inputs):
        raise SealgateError(Reason.TENSOR_NAME)
    for spec in config.inputs:
        tensor = tensors.get(spec.name)
        if tensor is None:
            raise SealgateError(Reason.TENSOR_NAME)
        if tensor.datatype != spec.datatype:
            raise SealgateError(Reason.TENSOR_DATATYPE)
        if not spec.admits(tensor.shape):
            raise SealgateError(Reason.TENSOR_SHAPE)
        if tensor.shape[0] > most:
            raise SealgateError(Reason.BATCH_TOO_LARGE)
    given = tensors[config.input.name]
    data = given.data
    if config.tokens is None:
        return _numbers(config, data, given.span)
    if config.input.datatype == INT64:
        return _tokens(config.tokens, data, tensors[response_contract.MASK].data)
    return _texts(config, data)


def tensors_of(config: ModelConfig, rows: Array) -> list[Tensor]:
    """The tensors that `model_input` read `rows` from, those included that were left out."""
    if config.tensors:
        return parted(config.tensors, rows)
    if config.input.datatype == INT64:
        return [Tensor.of(name, data) for name, data in feeds(rows).items()]
    if config.input.datatype == BYTES:
        rows = rows.reshape(-1, *config.input.row)
    return [Tensor.of(config.input.name, rows)]


def labels(logits: npt.NDArray[np.float32], instead: Sequence[int | None] = ()) -> Tensor:
    """The most likely class of each row of [n, classes], as the tensor `label`, INT64 [n]; of some
    rows, the class that is said `instead`.

    It does not reveal how near the decision boundary is, which an attacker would use.
    """
    classes = np.argmax(logits, axis=-1).astype(np.int64)
    for at, other in enumerate(instead):
        if other is not None:
            classes[at] = other
    return Tensor.of("label", classes)


def _numbers(config: ModelConfig, data: Array, span: tuple[float, float] | None = None) -> Array:
    """`span` is the least and the largest of them, where that is known."""
    least, largest = (data.min(), data.max()) if span is None else span
    # float32 cannot hold every bound exactly, so the bounds are compared as it would hold them.
    if least < _as_float32(config.domain.min) or largest > _as_float32(config.domain.max):
        raise SealgateError(Reason.TENSOR_RANGE)
    if config.table is not None:
        config.table.check(data)
    return data


# As many bounds as models have that are live.
@lru_cache(1024)
def _as_float32(value: float) -> float:
    return float(np.float32(value))


def _tokens(rules: TokenRules, ids: Array, mask: Array) -> Array:
    if ids.shape != mask.shape or ids.shape[1] > rules.most:
        raise SealgateError(Reason.TENSOR_SHAPE)
    return rules.fitted(rules.checked(tokens.joined(ids, mask)))


def _texts(config: ModelConfig, data: Array) -> Array:
    texts = data.ravel()
    longest = config.tokens.text_bytes if config.tokens else 0
    for text in texts:
        if len(text) > longest or b"\0" in text:
            raise SealgateError(Reason.TENSOR_TEXT)
        try:
            text.decode()
        except UnicodeDecodeError:
            raise SealgateError(Reason.TENSOR_TEXT, "not UTF-8") from None
    return texts


def wanted_outputs(config: ModelConfig, asked: Sequence[str]) -> tuple[str, ...]:
    """The outputs to answer with: those asked for, else all. Raises: OUTPUT_UNKNOWN."""
    if any(name != config.output.name for name in asked):
        raise SealgateError(Reason.OUTPUT_UNKNOWN)
    return (config.output.name,)
