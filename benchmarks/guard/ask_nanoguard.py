"""Asks the guard in the package metatronnanoguard 0.1.0 (MIT), in a process of its own.

The package comes with pickles. A list of texts in JSON is read from standard input, and their
margins are written to standard output.
"""

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

_BATCH = 32


def margins(guard: Any, texts: Sequence[str]) -> list[float]:
    """By how much each text is an injection rather than safe, [n]."""
    cutter, found = guard.tokenizer, [0.0] * len(texts)
    rows = [cutter.encode(text, max_length=guard.config.sequence_len) for text in texts]
    # Rows of like length together: what fills them up is masked, but costs as much.
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    for start in range(0, len(order), _BATCH):
        places = order[start : start + _BATCH]
        longest = len(rows[places[-1]])
        ids = torch.full((len(places), longest), cutter.pad_token_id)
        for number, at in enumerate(places):
            ids[number, : len(rows[at])] = torch.tensor(rows[at])
        held = torch.arange(longest) < torch.tensor([[len(rows[at])] for at in places])
        with torch.no_grad():
            logits = guard.model(ids, held).float()
        for at, value in zip(places, (logits[:, 1] - logits[:, 0]).tolist(), strict=True):
            found[at] = value
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    guard = import_module("nanoguard").NanoGuard(device="cpu")
    json.dump(margins(guard, json.load(sys.stdin)), sys.stdout)
