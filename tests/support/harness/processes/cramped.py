"""Runs a version in a process that has little memory left: `python -m
tests.support.harness.processes.cramped ARENA`.

Prints as JSON what was answered and what was remembered, or the reason for which it was refused.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from inference.engine.ready_version import ReadyVersion
from inference.engine.statistics import Duration
from inference.runtime.session import Session
from inference.runtime.settings import CpuSettings
from sealgate.reasons import SealgateError
from tests.support.builders.models.hard_graphs import ROW_BYTES, hungry
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles

_ROOM = 7


def main() -> None:
    model = Perceptron.random()
    ready = ReadyVersion.build("", VersionFiles.of(model).encode(), CpuSettings(1))
    ready.served = Session.open(hungry(model.inputs, 3), ("logits",))
    if sys.argv[1] == "off":
        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = False
        graph = hungry(model.inputs, 3)
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(graph, options, providers=providers)
        ready.served = Session(session, ("logits",))
    x = np.random.default_rng(1).random((16, model.inputs), np.float32)
    ready.submit(x[:1])
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _ROOM * ROW_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        logits = ready.submit(x).outputs["logits"]
    except SealgateError as refusal:
        print(json.dumps({"reason": refusal.reason.name, "detail": refusal.detail}))
        return
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    right = np.allclose(logits, x.mean(axis=1, keepdims=True).repeat(3, axis=1), atol=1e-5)
    faults = ready.statistics.report(Duration()).faults
    print(
        json.dumps(
            {
                "right": bool(right),
                "rows": ready.capacity.rows(),
                "faults": {fault.name: count for fault, count in faults.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
