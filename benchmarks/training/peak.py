"""The memory that reading one long text takes, in this process of its own.

    python -m benchmarks.training.peak WAY FILE TOKENS

FILE holds the weights (safetensors) or the graph (ONNX) of a way of `benchmarks.training.reading`.
The text is words at random: memory does not depend on which. Prints JSON: MiB resident before the
text and at the peak while it is read, and the CPU time that this took, in seconds.
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from inference.text import tokens
from inference.text.tokens import Ids

Read = Callable[[Ids], np.ndarray]
# The first, short text makes what is made once.
_FIRST = 64
_WORDS = 1000, 30000


def main() -> None:
    way, path, length = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    read = of_graph(path) if path.suffix == ".onnx" else _of_torch(way, path)
    row = np.random.default_rng(1).integers(*_WORDS, length)
    read(row[:_FIRST])
    # What was freed is given back, and the peak begins here.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before, began = _mebibytes("VmRSS"), time.process_time()
    read(row)
    seconds = time.process_time() - began
    told = {"before": before, "peak": _mebibytes("VmHWM"), "seconds": round(seconds, 3)}
    print(json.dumps(told))


def of_graph(path: Path) -> Read:
    """By one thread, as the engine has it: from one row of tokens [s] to logits [C]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def read(row: Ids) -> np.ndarray:
        found: np.ndarray = session.run(None, tokens.feeds(row[np.newaxis]))[0][0]
        return found

    return read


def _of_torch(way: str, path: Path) -> Read:
    # Not above: a process that runs a graph should not hold torch.
    from benchmarks.training import reading

    return reading.of_torch(way, reading.load(path))


def _mebibytes(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return round(int(line.split()[1]) / 1024, 1)
    raise ValueError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    main()
