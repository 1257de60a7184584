"""`make bench NAME=split`: how far a decoder that is split over two processes is off.

A Llama and a Qwen2 with random weights are split by transformers' `tp_plan`, as `[generation]
processes` does it, over gloo. Logits are held against those of one process in float64, as a share
of the largest: in float64 the order of sums is all that may differ, in float32 the split model may
be off as one process is. With as many cards NCCL has its turn; without them that target is marked
NOT RUN. Writes results/split.json.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM

from benchmarks.report import Row, Target, finish, show
from generation.models.split import SplitDecoder
from inference.runtime.settings import CPU, CUDA
from tests.support.builders.models import random_decoder

_PROCESSES, _TOKENS, _VOCABULARY = 2, 60, 1000
_DOUBLE, _SINGLE = "float64", "float32"
# Norms are computed in float32 whatever the weights are, so float64 is not exact to its last place.
_MOST_DOUBLE, _MOST_SINGLE = 1e-9, 1e-5
_NO_CARDS = "no two cards on this machine"
Logits = npt.NDArray[np.float64]


def main() -> None:
    torch.set_num_threads(1)
    cards = torch.cuda.is_available() and torch.cuda.device_count() >= _PROCESSES
    devices = (CPU, CUDA) if cards else (CPU,)
    with TemporaryDirectory() as place:
        rows = [
            row for kind in random_decoder.KINDS for row in measured(kind, Path(place), devices)
        ]
    show(rows)
    finish("split", rows, judge(rows), {} if cards else {"NCCL": _NO_CARDS})


def measured(kind: str, place: Path, devices: tuple[str, ...]) -> Iterator[Row]:
    """Of one architecture: one process in float32, and split ones in both precisions."""
    folder, ids = place / kind, random_decoder.ids(_TOKENS)
    _make(kind, folder)
    exact = _alone(folder, torch.float64, ids)
    alone = _off(_alone(folder, torch.float32, ids), exact)
    for device in devices:
        for precision in (_DOUBLE, _SINGLE):
            off = _off(_split(folder, device, precision, ids), exact)
            yield {
                "architecture": kind,
                "device": device,
                "precision": precision,
                "processes": _PROCESSES,
                "off": off,
                "one_process_off": 0.0 if precision == _DOUBLE else alone,
            }


def _make(kind: str, folder: Path) -> None:
    """Of six million random weights."""
    configured, model = random_decoder.KINDS[kind]
    torch.manual_seed(1)
    config = configured(
        vocab_size=_VOCABULARY,
        hidden_size=320,
        intermediate_size=896,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=128,
        initializer_range=0.1,
    )
    model(config).save_pretrained(folder)


def _alone(folder: Path, dtype: torch.dtype, ids: list[int]) -> Logits:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    with torch.inference_mode():
        return np.asarray(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double())


def _split(folder: Path, device: str, precision: str, ids: list[int]) -> Logits:
    config: Any = AutoModelForCausalLM.from_pretrained(folder).config
    decoder = SplitDecoder(folder, config, _PROCESSES, device, precision)
    try:
        return decoder.logits(ids)
    finally:
        decoder.close()


def _off(found: Logits, exact: Logits) -> float:
    """The largest difference, as a share of the largest logit."""
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def judge(rows: list[Row]) -> list[Target]:
    """The worst of the architectures on the CPU, and on cards."""
    bounds = {_DOUBLE: _MOST_DOUBLE, _SINGLE: _MOST_SINGLE}
    found = []
    for device, how in ((CPU, "gloo"), (CUDA, "NCCL")):
        for precision, most in bounds.items():
            name = f"logits of two processes over {how}, {precision}: off by, of the largest logit"
            off = [
                row["off"]
                for row in rows
                if (row["device"], row["precision"]) == (device, precision)
            ]
            why = "" if off else _NO_CARDS
            found.append(Target(name, max(off, default=None), most, why=why))
    return found


if __name__ == "__main__":
    main()
