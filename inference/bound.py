"""Runs on buffers that stay where they are, one set for each shape of the inputs.

A captured CUDA graph is replayed on the very addresses that it was captured with, so inputs are
copied into the buffers of their shape and outputs out of them. Shapes must therefore be few: see
`inference.sizes`. On the processor nothing is captured and the same buffers are merely used again.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

Array = npt.NDArray[Any]
_Shape: TypeAlias = tuple[object, ...]

_GRAPH = "gpu_graph_id"
# A run under this id is neither captured nor replayed.
_UNCAPTURED = "-1"


@dataclass(frozen=True, slots=True)
class _Buffers:
    """The inputs by name, where outputs come to be, and the id of the graph that ties them."""

    binding: onnxruntime.IOBinding
    inputs: Mapping[str, onnxruntime.OrtValue]
    outputs: Sequence[onnxruntime.OrtValue]
    graph: str


class BoundRuns:
    """Runs of one session. They take turns: its buffers hold one batch."""

    def __init__(self, session: onnxruntime.InferenceSession, device: str) -> None:
        """`device` is where the buffers are: "cuda" or "cpu"."""
        self._session = session
        self._device = device
        self._mutex = threading.Lock()
        self._buffers: dict[_Shape, _Buffers] = {}

    def run(
        self,
        outputs: Sequence[str],
        feeds: Mapping[str, Array],
        options: onnxruntime.RunOptions,
    ) -> list[Array]:
        """As `InferenceSession.run`, whose exceptions it raises."""
        with self._mutex:
            buffers = self._of(tuple(outputs), feeds)
            for name, value in feeds.items():
                buffers.inputs[name].update_inplace(np.ascontiguousarray(value))
            options.add_run_config_entry(_GRAPH, buffers.graph)
            self._session.run_with_iobinding(buffers.binding, options)
            # Copies, since the next run writes to the same place.
            return [np.array(value.numpy()) for value in buffers.outputs]

    def _of(self, outputs: tuple[str, ...], feeds: Mapping[str, Array]) -> _Buffers:
        shape = (outputs, *((name, feeds[name].shape) for name in sorted(feeds)))
        found = self._buffers.get(shape)
        if found is None:
            found = self._buffers[shape] = self._made(outputs, feeds)
        return found

    def _made(self, outputs: tuple[str, ...], feeds: Mapping[str, Array]) -> _Buffers:
        options = onnxruntime.RunOptions()
        options.add_run_config_entry(_GRAPH, _UNCAPTURED)
        # Only a run tells the outputs' shapes; it warms the graph as well.
        found = self._session.run(outputs, feeds, options)
        binding = self._session.io_binding()
        inputs = {name: self._buffer(value) for name, value in feeds.items()}
        results = [self._buffer(value) for value in found]
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(outputs, results, strict=True):
            binding.bind_ortvalue_output(name, value)
        return _Buffers(binding, inputs, results, str(len(self._buffers) + 1))

    def _buffer(self, like: Array) -> onnxruntime.OrtValue:
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(like), self._device)
