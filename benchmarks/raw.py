"""ONNX Runtime in process and nothing else: what the machine's arithmetic allows.

Run as a program, pinned by whoever starts it: GRAPH INPUTS BATCH SESSIONS SECONDS; each session has
one thread. Prints JSON: rows answered, seconds, CPU-seconds, and the times of single runs.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Cell
from benchmarks.processes import pinned, pss
from benchmarks.served import Served

BATCHES = (1, 8, 16, 32)
SESSIONS = (1, 2)


def measure(
    served: Served, batch: int, sessions: int, seconds: float, cores: set[int], folder: Path
) -> Cell:
    """One cell, in a process of its own on `cores`."""
    inputs = folder / f"{served.name}.npz"
    if not inputs.exists():
        arrays: dict[str, Any] = dict(served.inputs)
        np.savez(inputs, **arrays)
    words = (served.graph, inputs, batch, sessions, seconds)
    with pinned(cores):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.raw", *map(str, words)],
            capture_output=True,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout)
    return Cell(
        seconds=found["seconds"],
        ok=found["rows"],
        cpu=found["cpu"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        memory=found["memory"],
        client_cpu=0.0,
        answered=found["rows"],
        distinct=len(served),
        failures={},
    )


def main() -> None:
    graph, inputs, batch, sessions, seconds = sys.argv[1:6]
    arrays = dict(np.load(inputs))
    size = int(batch)
    count = len(next(iter(arrays.values()))) // size
    feeds = [
        {name: array[place * size : (place + 1) * size] for name, array in arrays.items()}
        for place in range(count)
    ]
    opened = [_session(graph) for _ in range(int(sessions))]
    for session in opened:
        session.run(None, feeds[0])
    began, used = time.perf_counter(), time.process_time()
    end = began + float(seconds)

    def drive(session: Any) -> list[float]:
        times: list[float] = []
        now = time.perf_counter()
        while now < end:
            session.run(None, feeds[len(times) % count])
            before, now = now, time.perf_counter()
            times.append(now - before)
        return times

    with ThreadPoolExecutor(len(opened)) as pool:
        times = np.concatenate(list(pool.map(drive, opened)))
    report = {
        "rows": len(times) * size,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - used,
        "p50_ms": float(np.percentile(times, 50) * 1000),
        "p99_ms": float(np.percentile(times, 99) * 1000),
        "memory": pss(os.getpid()),
    }
    sys.stdout.write(json.dumps(report))


def _session(graph: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        Path(graph).read_bytes(), options, providers=["CPUExecutionProvider"]
    )


if __name__ == "__main__":
    main()
