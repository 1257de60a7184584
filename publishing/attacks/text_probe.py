"""Attacks on text models that callers could send: words replaced by other words (HotFlip).

HotFlip (Ebrahimi et al., arXiv 1712.06751) replaces the tokens for which the loss rises most, to
first order: the gradient times the difference to the new token's embedding. The response graph
gives the gradient's sign in the embeddings, and a step of size zero gives the embeddings
themselves. So the graph is enough to make the attack, without torch.

The first and the last token of a text belong to the tokenizer and stay.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.model.config import ModelConfig
from inference.runtime import response_contract
from inference.runtime.graph_rewrites import keep_outputs
from inference.runtime.session import Session, scalar
from inference.text import tokens
from inference.text.tokens import NO_TOKEN, Ids, TokenRules

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Answers = Callable[[Ids], Ids]

# Shares of a text's tokens that are exchanged, by an attack or at random.
SHARES: tuple[float, ...] = (0.1, 0.2, 0.4)
_NOISE: tuple[float, ...] = (0.1, 0.2)
LEAST = "hotflip-least"
ATTACKS: tuple[str, ...] = (*(f"hotflip-{share:g}" for share in SHARES), LEAST)
SHIFTS: tuple[str, ...] = tuple(f"noise-{share:g}" for share in _NOISE)
_MOST_CANDIDATES = 512
_BATCH_ROWS = 32
# How many texts a report is of: each is measured a dozen times, with a gradient each.
MOST_REPORTED_TEXTS = 300
_NONE = -np.inf


class TextGraph(Protocol):
    """The part of a response graph that the probe needs; `inference.runtime.session.Session` has
    it.
    """

    def run(self, feeds: Mapping[str, Array]) -> list[Array]: ...


@dataclass(frozen=True, slots=True, eq=False)
class TextProbe:
    """A text model's response graph, and a stock of tokens [k] to exchange others for, with their
    embeddings [k, W].
    """

    measured: TextGraph
    stepped: TextGraph
    rules: TokenRules
    eps: float
    stock: Ids
    embeddings: Floats

    @classmethod
    def of(cls, graph: bytes, config: ModelConfig, rules: TokenRules, rows: Ids) -> "TextProbe":
        """The stock is the tokens that are commonest in `rows`. Raises: FORMAT_REFUSED,
        EXTERNAL_DATA, GRAPH_MISMATCH.
        """
        # Each cut to what it is asked for: one gradient less.
        stepped, measured = (
            Session.open(keep_outputs(graph, outputs), outputs)
            for outputs in (
                (response_contract.X_ADV,),
                (response_contract.LOGITS, response_contract.FEATURES),
            )
        )
        return cls.over(measured, stepped, rules, config.eps, rows)

    @classmethod
    def over(
        cls, measured: TextGraph, stepped: TextGraph, rules: TokenRules, eps: float, rows: Ids
    ) -> "TextProbe":
        """Of what answers `measured` with logits and features, and `stepped` with x_adv."""
        found, counts = np.unique(rows[inner(rows)], return_counts=True)
        stock = np.sort(found[np.argsort(-counts, kind="stable")][:_MOST_CANDIDATES])
        none = np.empty((0, 0), np.float32)
        probe = cls(measured, stepped, rules, eps, stock, none)
        return replace(probe, embeddings=probe._embedded(stock))

    def measure(self, x: Ids) -> tuple[Floats, Floats]:
        """Return logits [n, C] and features [n, F] of rows x."""

        def work(rows: Ids) -> tuple[Array, ...]:
            own = np.full(len(rows), response_contract.OWN_PREDICTION, np.int64)
            return tuple(self.measured.run(self._feeds(rows, own, self.eps)))

        parts = [self.rules.run(x[rows], work) for rows in _batches(x)]
        logits, features = (np.concatenate(results) for results in zip(*parts, strict=True))
        return logits, features

    def answers(self, x: Ids) -> Ids:
        """Return the model's own classes [n] of rows x."""
        return np.asarray(self.measure(x)[0].argmax(axis=1), np.int64)

    def noise(self, x: Ids, size: float, generator: np.random.Generator) -> Ids:
        """Return x with that share of each text's tokens exchanged at random."""
        order = np.where(inner(x), generator.random(x.shape), _NONE)
        chosen = _largest(order, _budget(x, size))
        return np.where(chosen, generator.choice(self.stock, x.shape), x)

    def shifts(self, x: Ids, generator: np.random.Generator) -> Iterator[tuple[str, Ids]]:
        """Yield the name of each benign change and the rows x under it: words mistaken."""
        for name, share in zip(SHIFTS, _NOISE, strict=True):
            yield name, self.noise(x, share, generator)

    def attacks(self, x: Ids, generator: np.random.Generator) -> Iterator[tuple[str, Ids]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged.

        Each share begins where the one before it ended, with the gradient taken anew. The last
        attack stops where the answer turns.
        """
        own, moved = self.answers(x), x
        for name, share in zip(ATTACKS, SHARES, strict=False):
            moved = self.flipped(moved, own, _budget(x, share), moved != x)
            yield name, moved
        yield LEAST, self._nearest(x, moved, own, self.answers)

    def nearest(self, x: Ids, moved: Ids, answers: Answers) -> Ids:
        """Of the rows from x to `moved` the first that are answered otherwise than x."""
        return self._nearest(x, moved, answers(x), answers)

    def _nearest(self, x: Ids, moved: Ids, own: Ids, answers: Answers) -> Ids:
        """Of the exchanges that lead from x to `moved`, as many from each text's start on as turn
        it: they are halved, between those that do not turn it and those that do.
        """
        low, high = np.zeros(len(x), np.int64), (moved != x).sum(axis=1)
        while (high - low > 1).any():
            middle = (low + high) // 2
            turned = answers(_exchanged(x, moved, middle)) != own
            low, high = np.where(turned, low, middle), np.where(turned, middle, high)
        return _exchanged(x, moved, high)

    def flipped(self, x: Ids, labels: Ids, budget: Ids, done: npt.NDArray[np.bool_]) -> Ids:
        """Rows x with tokens exchanged up to `budget` [n], those that are `done` included."""
        parts = []
        for rows in _batches(x):
            gain, best = self._gains(x[rows], labels[rows])
            gain[~inner(x[rows]) | done[rows] | (gain <= 0)] = _NONE
            chosen = _largest(gain, budget[rows] - done[rows].sum(axis=1))
            parts.append(np.where(chosen, self.stock[best], x[rows]))
        return np.concatenate(parts)

    def _gains(self, x: Ids, labels: Ids) -> tuple[Floats, Ids]:
        """For each place [n, s] what the best exchange gains, and which of the stock it is."""
        gain = np.zeros(x.shape, np.float32)
        best = np.zeros(x.shape, np.int64)
        rows = tokens.resized(x, int(tokens.lengths(x).max()))
        worth = self.worth(rows, labels)
        width = rows.shape[1]
        best[:, :width] = worth.argmax(axis=2)
        gain[:, :width] = worth.max(axis=2)
        return gain, best

    def worth(self, rows: Ids, labels: Ids) -> Floats:
        """By how much the loss rises, to first order, with each of the stock in each place of the
        rows [n, s]: [n, s, k].
        """
        (here,) = self.stepped.run(self._feeds(rows, labels, 0.0))
        (there,) = self.stepped.run(self._feeds(rows, labels, 1.0))
        uphill = np.rint(there - here)
        found: Floats = uphill @ self.embeddings.T - (uphill * here).sum(axis=2, keepdims=True)
        return found

    def _embedded(self, ids: Ids) -> Floats:
        width = self.rules.most
        padded = np.pad(ids, (0, -len(ids) % width), constant_values=ids[0]).reshape(-1, width)
        labels = np.zeros(len(padded), np.int64)
        (found,) = self.stepped.run(self._feeds(padded, labels, 0.0))
        embeddings: Floats = found.reshape(padded.size, -1)[: len(ids)]
        return embeddings

    def _feeds(self, rows: Ids, labels: Ids, eps: float) -> dict[str, Array]:
        return {
            **tokens.feeds(rows),
            response_contract.LABEL: labels,
            response_contract.EPS: scalar(eps),
        }


def _exchanged(x: Ids, moved: Ids, counts: Ids) -> Ids:
    """x with the first `counts` [n] of the exchanges that lead to `moved`."""
    place = (moved != x).cumsum(axis=1)
    return np.where(place <= counts[:, np.newaxis], moved, x)


def _batches(x: Ids) -> list[slice]:
    """Of rows that are run together at the width of the widest."""
    most = min(_BATCH_ROWS, tokens.at_once(x.shape[1]))
    return [slice(at, at + most) for at in range(0, len(x), most)]


def inner(x: Ids) -> npt.NDArray[np.bool_]:
    """Which places [n, s] hold tokens that may be exchanged."""
    places = np.arange(x.shape[1])
    found: npt.NDArray[np.bool_] = (
        (x != NO_TOKEN) & (places > 0) & (places < tokens.lengths(x)[:, np.newaxis] - 1)
    )
    return found


def _budget(x: Ids, share: float) -> Ids:
    """How many tokens of each row that share is: one at least."""
    found: Ids = np.maximum(1, np.rint(share * inner(x).sum(axis=1))).astype(np.int64)
    return found


def _largest(order: Array, counts: Ids) -> npt.NDArray[np.bool_]:
    """Marks the `counts` [n] largest of each row [n, s], of those that are numbers."""
    ranks = np.argsort(np.argsort(-order, axis=1, kind="stable"), axis=1, kind="stable")
    found: npt.NDArray[np.bool_] = (ranks < counts[:, np.newaxis]) & (order > _NONE)
    return found
