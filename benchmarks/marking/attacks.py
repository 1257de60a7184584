"""What a thief, or a deployment, does to weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.marking.subjects import Floats, Neurons, State
from benchmarks.report import Target

_BLOCK = 32


def rounded(weights: Floats, bits: int, scale: Floats | np.float32) -> Floats:
    """To the nearest of 2^bits levels and back."""
    top = 2 ** (bits - 1) - 1
    return (np.clip(np.rint(weights / scale), -top - 1, top) * scale).astype(np.float32)


def int8_by_tensor(weights: Floats) -> Floats:
    return rounded(weights, 8, np.float32(np.abs(weights).max() / 127))


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


def low_rank(weights: Floats, rng: np.random.Generator, rank: int = 8) -> Floats:
    """With an update of rank 8 merged in, a third as large as the matrix."""
    flat = weights.reshape(len(weights), -1)
    update = rng.standard_normal((flat.shape[0], rank)) @ rng.standard_normal((rank, flat.shape[1]))
    update *= 0.33 * np.linalg.norm(flat) / np.linalg.norm(update)
    return (flat + update).reshape(weights.shape).astype(np.float32)


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


_LEAST_Z = (
    "INT8 per tensor",
    "INT8 per channel",
    "INT4, blocks of 32",
    "pruned 50%",
    "fine-tuned 10 epochs",
    "overwritten at 5x",
    "neurons reordered, aligned",
    "low-rank update",
    "mean with the base",
)
_NO_ERROR = _LEAST_Z[:3]
_PAYLOAD = ("pruned 90%", "20% of neurons dropped, aligned")
_WHY = {
    "fine-tuned 10 epochs": "a small network trained for ten epochs at its first rate is another",
    "cost": "each bit has to be read with six standard deviations, by few weights a bit",
}


def targets_of(table: list[dict[str, Any]], null: list[dict[str, Any]]) -> list[Target]:
    targets = []
    for row in table:
        name, attack = f"{row['model']}: {row['attack']}", row["attack"]
        if attack in _LEAST_Z:
            targets.append(_aim(f"{name}: z", row["z_least"], 12, attack, least=True))
        if attack in _NO_ERROR:
            targets.append(_aim(f"{name}: bit errors", row["bit_errors_most"], 0, attack))
        if attack in _PAYLOAD:
            share = row["payloads_read"] / row["seeds"]
            targets.append(_aim(f"{name}: payloads read", share, 1, attack, least=True))
        if attack == "none" and "limit" in row:
            cost = f"{row['model']}: {row['unit']} lost, mean"
            targets.append(_aim(cost, row["cost_mean"], row["limit"], "cost"))
    keys, largest = sum(each["keys"] for each in null), max(each["largest_z"] for each in null)
    return [*targets, _aim(f"the largest z of {keys:,} wrong keys", largest, 6, "")]


def _aim(name: str, value: float, target: float, why: str, least: bool = False) -> Target:
    aim = Target(name, value, target, least)
    return aim if aim.met else aim.because(_WHY.get(why, ""))
