"""Gradient checkpointing: what a step keeps for the way back, and what the step takes."""

import time
from typing import Any

import torch
from torch.nn import functional

from training.models.encoder import EncoderSize, TextClassifier

_SIZE = EncoderSize(vocabulary=1000, positions=256, width=128, inner=512, layers=6, heads=4)
_ROWS, _TOKENS = 8, 256


def compare(seeds: int) -> list[dict[str, Any]]:
    """One row: bytes kept for the way back and CPU time a step, with and without; each pair of
    steps is on the same rows, and the least time of each counts.
    """
    torch.manual_seed(1)
    net = TextClassifier(_SIZE, 2).train()
    kept = {switch: _kept(net, switch) for switch in (False, True)}
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(3 * seeds):
        for switch in (False, True):
            seconds[switch].append(_step(net, switch, seed))
    plain, checkpointed = min(seconds[False]), min(seconds[True])
    return [
        {
            "part": "memory",
            "model": f"encoder of {_SIZE.layers} layers by {_SIZE.width}",
            "rows": [_ROWS, _TOKENS],
            "kept_bytes": kept[False],
            "kept_bytes_checkpointed": kept[True],
            "less_memory": round(100 * (1 - kept[True] / kept[False]), 2),
            "seconds": plain,
            "seconds_checkpointed": checkpointed,
            "more_time": round(100 * (checkpointed / plain - 1), 2),
        }
    ]


def _loss(net: TextClassifier, switch: bool, seed: int) -> torch.Tensor:
    net.checkpointed = switch
    rows = torch.randint(
        _SIZE.vocabulary, (_ROWS, _TOKENS), generator=torch.Generator().manual_seed(seed)
    )
    return functional.cross_entropy(net.answers(rows)[1], torch.arange(_ROWS) % 2)


def _kept(net: TextClassifier, switch: bool) -> int:
    """Bytes that autograd keeps, each piece of memory once, parameters not counted."""
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    pieces: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            pieces[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _loss(net, switch, 0)
    return sum(storage.nbytes() for storage in pieces.values())


def _step(net: TextClassifier, switch: bool, seed: int) -> float:
    net.zero_grad()
    began = time.process_time()
    _loss(net, switch, seed).backward()
    return time.process_time() - began
