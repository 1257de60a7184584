"""The changes that a thief, or a deployment, makes to weights."""

from collections.abc import Mapping

import numpy as np

from benchmarks.marking.subjects import Floats, Neurons, State

_BLOCK = 32


def rounded(weights: Floats, bits: int, scale: Floats | np.float32) -> Floats:
    """To the nearest of 2^bits levels and back."""
    top = 2 ** (bits - 1) - 1
    return (np.clip(np.rint(weights / scale), -top - 1, top) * scale).astype(np.float32)


def int8_by_channel(weights: Floats) -> Floats:
    flat = weights.reshape(len(weights), -1)
    return rounded(flat, 8, np.abs(flat).max(axis=1, keepdims=True) / 127 + 1e-12).reshape(
        weights.shape
    )


def int4_by_block(weights: Floats) -> Floats:
    flat = np.pad(weights.reshape(-1), (0, -weights.size % _BLOCK)).reshape(-1, _BLOCK)
    back = rounded(flat, 4, np.abs(flat).max(axis=1, keepdims=True) / 7 + 1e-12)
    return back.reshape(-1)[: weights.size].reshape(weights.shape)


def pruned(weights: Floats, share: float) -> Floats:
    """Without the smallest of each matrix."""
    return np.where(np.abs(weights) < np.quantile(np.abs(weights), share), 0, weights).astype(
        np.float32
    )


def halved_rank(weights: Floats) -> Floats:
    """With the larger half of its singular values."""
    flat = weights.reshape(len(weights), -1)
    left, values, right = np.linalg.svd(flat, full_matrices=False)
    kept = max(len(values) // 2, 1)
    return (left[:, :kept] * values[:kept] @ right[:kept]).reshape(weights.shape)


def noisy(weights: Floats, size: float, rng: np.random.Generator) -> Floats:
    """With noise of so many times its own spread."""
    noise = rng.standard_normal(weights.shape, np.float32)
    return weights + np.float32(size * weights.std()) * noise


def mean(states: list[Mapping[str, Floats]]) -> State:
    """Copies averaged."""
    return {name: np.mean([s[name] for s in states], axis=0) for name in states[0]}


def reordered(state: State, neurons: tuple[Neurons, ...], rng: np.random.Generator) -> State:
    """Neurons, heads and features in another order and scale; it computes the same."""
    changed = {name: values.copy() for name, values in state.items()}
    for each in neurons:
        size = each.count // each.groups
        parts = [group * size + rng.permutation(size) for group in range(each.groups)]
        order = np.concatenate(parts)
        scale = np.exp(0.5 * rng.standard_normal(each.count)).astype(np.float32)
        for name, axis, repeat in each.axes:
            places = _repeated(order, repeat)
            changed[name] = np.take(changed[name], places, axis)
            factor = scale if name in each.scaled else 1 / scale if name in each.unscaled else None
            if factor is not None:
                shape = [1] * changed[name].ndim
                shape[axis] = -1
                factors = np.repeat(factor, repeat).astype(np.float32)
                changed[name] = changed[name] * factors.reshape(shape)
    return changed


def without_neurons(
    state: State, neurons: tuple[Neurons, ...], share: float, rng: np.random.Generator
) -> State:
    """A share of the neurons of each layer gone, rows and columns and all."""
    changed = {name: values.copy() for name, values in state.items()}
    for each in neurons:
        if not each.droppable:
            continue
        kept = np.sort(rng.permutation(each.count)[int(share * each.count) :])
        for name, axis, repeat in each.axes:
            changed[name] = np.take(changed[name], _repeated(kept, repeat), axis)
    return changed


def _repeated(order: np.ndarray, repeat: int) -> np.ndarray:
    return (order[:, None] * repeat + np.arange(repeat)).reshape(-1)


def with_dead(
    state: State, neurons: tuple[Neurons, ...], share: float, rng: np.random.Generator
) -> State:
    """A share of neurons more in each layer, which nothing hears; it computes the same."""
    changed = dict(state)
    for each in neurons:
        count = max(int(share * each.count), 1) if each.droppable else 0
        for name, axis, repeat in each.axes if count else ():
            values = changed[name]
            shape = list(values.shape)
            shape[axis] = count * repeat
            spread = values.std() if axis == 0 else 0.0
            new = rng.standard_normal(shape) * spread
            changed[name] = np.concatenate([values, new], axis).astype(np.float32)
    return changed


def with_clones(
    state: State, neurons: tuple[Neurons, ...], share: float, rng: np.random.Generator
) -> State:
    """A share of the neurons stored twice, and what is made of them divided at random; it computes
    the same.
    """
    changed = dict(state)
    for each in neurons:
        chosen = rng.permutation(each.count)[: int(share * each.count)]
        for name, axis, repeat in each.axes if each.droppable else ():
            values, places = changed[name], _repeated(chosen, repeat)
            new = np.take(values, places, axis)
            if axis == 1:
                new = (rng.standard_normal(new.shape) * values.std()).astype(np.float32)
                values = values.copy()
                values[:, places] -= new
            changed[name] = np.concatenate([values, new], axis)
    return changed


def mixed_in_heads(state: State, neurons: tuple[Neurons, ...], rng: np.random.Generator) -> State:
    """The features within each attention head rotated, of queries with keys and of values with what
    reads them; it computes the same.
    """
    changed = dict(state)
    for each in neurons:
        if each.groups == 1:
            continue
        size = each.count // each.groups
        turns = np.zeros((each.count, each.count))
        for start in range(0, each.count, size):
            part = slice(start, start + size)
            turns[part, part] = np.linalg.qr(rng.standard_normal((size, size)))[0]
        for name, axis, _ in each.axes:
            values = changed[name]
            moved = turns @ values if axis == 0 else values @ turns.T
            changed[name] = moved.astype(np.float32)
    return changed


def turned(
    state: State, read: Mapping[str, str | None], written: tuple[str, ...], rng: np.random.Generator
) -> State:
    """The residual stream rotated, as for a network whose norms are folded into what reads them:
    `read` has the norm of each matrix that reads the stream.
    """
    width = state[written[0]].shape[0]
    turn, _ = np.linalg.qr(rng.standard_normal((width, width)))
    changed = dict(state)
    for name, norm in read.items():
        values = state[name] if norm is None else state[name] * state[norm]
        changed[name] = (values @ turn).astype(np.float32)
    for name in written:
        changed[name] = (turn.T @ state[name]).astype(np.float32)
    return changed
