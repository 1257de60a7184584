"""Input forms: how rows of numbers or tokens are checked and fed to graphs.

All code that loads, runs, measures or screens a version uses these forms, and knows nothing else of
a row than that rows are an array [n, …].
"""

import sys
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.model.config import ModelConfig
from inference.runtime import response_contract
from inference.runtime.session import scalar
from inference.text import tokens
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import TokenRules
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
Work = Callable[[Array], tuple[Array, ...]]


class InputForm(Protocol):
    """How the rows [n, …] of a model are accepted, fed to graphs and run."""

    tokenizer: TextTokenizer | None
    """What cuts texts, where they are what is taken."""

    def taken(self, asked: Array) -> tuple[Array, int]:
        """The rows of a request, and its bucket: requests of the same bucket can share a batch.
        Raises TENSOR_TEXT.
        """
        ...

    def probe(self) -> Array | None:
        """The rows of the probe texts, if the model takes texts."""
        ...

    def extremes(self) -> list[Array]:
        """Rows that callers may send and golden inputs may not cover, each to be run alone."""
        ...

    def at_once(self, rows: Array) -> int:
        """How many such rows one run takes at most."""
        ...

    def serving(self, rows: Array) -> Feeds:
        """The inputs of the serving graph."""
        ...

    def screening(self, rows: Array) -> Feeds:
        """The inputs of the response graph, which steps away from the model's own answer."""
        ...

    def run(self, rows: Array, work: Work) -> tuple[Array, ...]:
        """The results of `work` for all rows, in order, in as many parts as the form needs."""
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
    """Rows of tokens: see `inference.text.tokens`. Without a tokenizer, texts cannot be
    accepted.
    """

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
    """The model's own prediction, as many times as there are rows."""
    if len(rows) <= len(prepared):
        return prepared[: len(rows)]
    return np.full(len(rows), response_contract.OWN_PREDICTION, np.int64)
