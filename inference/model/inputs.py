"""Inputs of a version: checks a request's tensors, and feeds rows to graphs.

A request's tensors and the outputs that it asks for are checked against the version's
configuration. Rows have numbers or tokens. All code that loads, runs, measures or screens a version
uses an `InputForm`, and assumes only that rows are an array [n, …].
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.model.config import ModelConfig
from inference.model.request_tensors import BYTES, INT64, joined, parted
from inference.runtime import response_contract
from inference.runtime.session import scalar
from inference.text import tokens
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import TokenRules, feeds
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
Work = Callable[[Array], tuple[Array, ...]]


class InputForm(Protocol):
    """How the rows [n, …] of a model are accepted, fed to graphs and run."""

    tokenizer: TextTokenizer | None
    """Splits texts into tokens; None if the model takes no texts."""

    def taken(self, asked: Array) -> tuple[Array, int]:
        """The rows of a request, and its bucket: requests of the same bucket can share a batch.
        Raises TENSOR_TEXT.
        """
        ...

    def probe(self) -> Array | None:
        """The rows of the probe texts, if the model takes texts."""
        ...

    def extremes(self) -> list[Array]:
        """Inputs that callers may send and golden inputs may not cover; each is run by itself."""
        ...

    def at_once(self, rows: Array) -> int:
        """The largest number of rows of this width in one run."""
        ...

    def serving(self, rows: Array) -> Feeds:
        """The inputs of the serving graph."""
        ...

    def screening(self, rows: Array) -> Feeds:
        """The inputs of the response graph, which measures steps away from the model's answer."""
        ...

    def run(self, rows: Array, work: Work) -> tuple[Array, ...]:
        """Run `work` on all rows, in as many parts as the form needs; the results, in order."""
        ...


class NumberForm:
    """Rows of float32."""

    tokenizer: TextTokenizer | None = None

    def __init__(self, config: ModelConfig) -> None:
        self._name = config.input.name
        self._own = np.full(config.batching.max_rows, response_contract.OWN_PREDICTION, np.int64)
        self._feeds = {
            response_contract.EPS: scalar(config.eps),
            response_contract.CLIP_MIN: scalar(config.domain.min),
            response_contract.CLIP_MAX: scalar(config.domain.max),
        }

    def taken(self, asked: Array) -> tuple[Array, int]:
        return asked, 0

    def probe(self) -> Array | None:
        return None

    def extremes(self) -> list[Array]:
        return []

    def at_once(self, rows: Array) -> int:
        return sys.maxsize

    def serving(self, rows: Array) -> Feeds:
        return {self._name: rows}

    def screening(self, rows: Array) -> Feeds:
        return {
            response_contract.X: rows,
            response_contract.LABEL: _own(self._own, rows),
            **self._feeds,
        }

    def run(self, rows: Array, work: Work) -> tuple[Array, ...]:
        return work(rows)


class TokenForm:
    """Rows of tokens (`inference.text.tokens`). Without a tokenizer, it accepts no texts."""

    def __init__(
        self, config: ModelConfig, rules: TokenRules, tokenizer: TextTokenizer | None
    ) -> None:
        self._rules = rules
        self.tokenizer = tokenizer
        self._own = np.full(config.batching.max_rows, response_contract.OWN_PREDICTION, np.int64)
        self._eps = scalar(config.eps)

    def taken(self, asked: Array) -> tuple[Array, int]:
        if self.tokenizer is not None:
            asked = self.tokenizer.rows(asked)
        return asked, asked.shape[1]

    def probe(self) -> Array | None:
        return self.tokenizer.probe() if self.tokenizer is not None else None

    def extremes(self) -> list[Array]:
        last = self._rules.vocabulary - 1
        return [np.full((1, width), last, np.int64) for width in self._rules.buckets]

    def at_once(self, rows: Array) -> int:
        return tokens.at_once(rows.shape[1])

    def serving(self, rows: Array) -> Feeds:
        return tokens.feeds(rows)

    def screening(self, rows: Array) -> Feeds:
        label = _own(self._own, rows)
        return {
            **tokens.feeds(rows),
            response_contract.LABEL: label,
            response_contract.EPS: self._eps,
        }

    def run(self, rows: Array, work: Work) -> tuple[Array, ...]:
        return self._rules.run(rows, work)


def form_of(config: ModelConfig, tokenizer: bytes | None = None) -> InputForm:
    """The form of a model's rows. `tokenizer` is its tokenizer.json, if it has one.

    Raises as `TextTokenizer.open` does.
    """
    if config.tokens is None:
        return NumberForm(config)
    opened = TextTokenizer.open(tokenizer, config.tokens) if tokenizer is not None else None
    return TokenForm(config, config.tokens, opened)


def check_tokenizer(config: ModelConfig, tokenizer: bytes | None) -> None:
    """Check that there is a tokenizer if and only if the model takes texts. Raises: FILE_MISSING,
    FILE_SURPLUS.
    """
    if config.is_text and tokenizer is None:
        raise SealgateError(Reason.FILE_MISSING, "a tokenizer")
    if not config.is_text and tokenizer is not None:
        raise SealgateError(Reason.FILE_SURPLUS, "a tokenizer")


def _own(prepared: Array, rows: Array) -> Array:
    """The label that stands for the model's own prediction, once for each row."""
    if len(rows) <= len(prepared):
        return prepared[: len(rows)]
    return np.full(len(rows), response_contract.OWN_PREDICTION, np.int64)


def model_input(
    config: ModelConfig, tensors: Mapping[str, Tensor], most_rows: int | None = None
) -> Array:
    """The rows [n, …] of a request, checked against the names, types and shapes of the model's
    inputs. There may be `most_rows` of them, by default as many as a batch. Several tensors become
    one row.

    Numbers [n, …] must be inside the domain, because screening measures responses only there. The
    rows of a table must follow the rules of its columns, because its detector was fitted on such
    rows only. Tokens [n, s] are as in `inference.text.tokens`. Texts [n] are bytes.
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
    """The tensors from which `model_input` read `rows`, including any that the request left out."""
    if config.tensors:
        return parted(config.tensors, rows)
    if config.input.datatype == INT64:
        return [Tensor.of(name, data) for name, data in feeds(rows).items()]
    if config.input.datatype == BYTES:
        rows = rows.reshape(-1, *config.input.row)
    return [Tensor.of(config.input.name, rows)]


def labels(logits: npt.NDArray[np.float32], instead: Sequence[int | None] = ()) -> Tensor:
    """The most likely class of each row of [n, classes], as the tensor `label`, INT64 [n].

    `instead` has, for each row, another class to answer with, or None. A class does not reveal how
    near the decision boundary is, which an attacker could use.
    """
    classes = np.argmax(logits, axis=-1).astype(np.int64)
    for at, other in enumerate(instead):
        if other is not None:
            classes[at] = other
    return Tensor.of("label", classes)


def _numbers(config: ModelConfig, data: Array, span: tuple[float, float] | None = None) -> Array:
    """Check numbers; `span` is their minimum and maximum, if known."""
    least, largest = (data.min(), data.max()) if span is None else span
    # float32 cannot represent every bound exactly, so the bounds are rounded to it first.
    if least < _as_float32(config.domain.min) or largest > _as_float32(config.domain.max):
        raise SealgateError(Reason.TENSOR_RANGE)
    if config.table is not None:
        config.table.check(data)
    return data


# Enough for the bounds of all live models.
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
