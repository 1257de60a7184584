"""The model that every server here serves: one ONNX graph on one thread, first output only.

These programs run in environments that have none of Sealgate: they import this file beside them.
Each is called with GRAPH PORT SETTING, where SETTING is one point of its grid, as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class Graph:
    """`types` has the numpy type of each input, by name."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            Path(path).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self.types = {value.name: _TYPES[value.type] for value in self._session.get_inputs()}
        self.output = self._session.get_outputs()[0].name

    def run(self, inputs):
        """The first output for the inputs by name."""
        return self._session.run([self.output], inputs)[0]

    def read(self, lists):
        """Nested lists by name, as arrays of the inputs' types."""
        return {name: np.asarray(lists[name], kind) for name, kind in self.types.items()}


def arguments():
    """The graph's path, the port, the setting."""
    path, port, setting = sys.argv[1:4]
    return path, int(port), json.loads(setting)
