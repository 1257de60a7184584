"""Sessions: ONNX graphs opened from bytes in memory and run on the configured provider.

No graph is opened by path: the bytes that were hashed are the bytes that are loaded, and a graph
without external data gives onnxruntime no file to look for. A file that is not plain ONNX is
refused before onnxruntime sees it.
"""

import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from inference.runtime.providers import ERRORS, open_session
from inference.runtime.settings import CPU, ON_CPU, RuntimeSettings
from registry.formats.format_check import check_file
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]

_Shape: TypeAlias = tuple[object, ...]

_GRAPH = "gpu_graph_id"
# A run under this id is neither captured nor replayed.
_UNCAPTURED = "-1"


@dataclass(frozen=True, slots=True)
class _Buffers:
    """The inputs by name, the outputs' places, and the id of the graph that binds them."""

    binding: onnxruntime.IOBinding
    inputs: Mapping[str, onnxruntime.OrtValue]
    outputs: Sequence[onnxruntime.OrtValue]
    graph: str


class BoundRuns:
    """Runs of one session with fixed buffers, one set for each shape of the inputs.

    A captured CUDA graph is replayed on the addresses with which it was captured, so inputs are
    copied into the buffers of their shape, and outputs out of them. Shapes must therefore be few:
    see `BatchSizes`. On the CPU nothing is captured, and the buffers are merely reused. Buffers
    hold one batch, so runs take turns.
    """

    def __init__(self, session: onnxruntime.InferenceSession, device: str) -> None:
        """`device` is where the buffers are: "cuda" or "cpu"."""
        self._session = session
        self._device = device
        self._mutex = threading.Lock()
        self.buffers: dict[_Shape, _Buffers] = {}

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
        found = self.buffers.get(shape)
        if found is None:
            found = self.buffers[shape] = self._made(outputs, feeds)
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
        return _Buffers(binding, inputs, results, str(len(self.buffers) + 1))

    def _buffer(self, like: Array) -> onnxruntime.OrtValue:
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(like), self._device)


# Messages of the arena, the system and a GPU if memory is exhausted; there is no error code for it.
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "Available memory of", "out of memory")
_SHRINK = "memory.enable_memory_arena_shrinkage"
# Files are checked by what their names say they are; a graph in memory has none.
_NAME = "graph.onnx"


_sessions: "weakref.WeakSet[Session]" = weakref.WeakSet()
_sessions_lock = threading.Lock()


class Session:
    """One loaded graph. Several threads may run it at once."""

    __slots__ = (
        "__weakref__",
        "_arenas",
        "_bound",
        "_outputs",
        "_runs",
        "_session",
        "_tight",
        "inputs",
        "place",
    )

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        outputs: Sequence[str],
        place: str = CPU,
        bound: BoundRuns | None = None,
    ) -> None:
        """`place` says where it runs; `bound`, if given, runs it with fixed buffers."""
        self._session = session
        self._outputs = tuple(outputs)
        self._bound = bound
        # By thread: the options of its run, and since when it runs.
        self._runs: dict[int, tuple[onnxruntime.RunOptions, float]] = {}
        # Without an arena nothing is cached, and asking to shrink it fails.
        cached = session.get_session_options().enable_cpu_mem_arena
        on_gpu = "CUDAExecutionProvider" in session.get_providers()
        self._arenas = ";".join(["cpu:0"] * cached + ["gpu:0"] * on_gpu)
        self._tight = False
        self.inputs = frozenset(value.name for value in session.get_inputs())
        self.place = place
        with _sessions_lock:
            _sessions.add(self)

    @classmethod
    def open(
        cls,
        graph: bytes,
        outputs: Sequence[str],
        threads: int = 1,
        settings: RuntimeSettings = ON_CPU,
    ) -> Self:
        """Load `graph` for the outputs `outputs`, with `threads` threads per run.

        Raises: FORMAT_REFUSED, EXTERNAL_DATA (see `registry.formats`); as `open_session`;
        GRAPH_MISMATCH if the graph lacks an output.
        """
        check_file(_NAME, graph)
        session, place = open_session(graph, threads, settings)
        missing = set(outputs) - {value.name for value in session.get_outputs()}
        if missing:
            raise SealgateError(Reason.GRAPH_MISMATCH, f"the graph has no output {sorted(missing)}")
        captured = settings.cuda_graphs and place == settings.provider
        return cls(session, outputs, place, BoundRuns(session, "cuda") if captured else None)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] = ()) -> list[Array]:
        """The outputs named here or at opening, in order. Feeds for inputs that the graph lacks are
        left out.

        Raises: OUT_OF_MEMORY; RUN_HUNG if the run was ended; otherwise INTERNAL, since the caller
        has checked the inputs. After a run without enough memory, the next one releases cached
        memory.
        """
        if len(feeds) > len(self.inputs):
            feeds = {name: value for name, value in feeds.items() if name in self.inputs}
        options = onnxruntime.RunOptions()
        if self._tight:
            options.add_run_config_entry(_SHRINK, self._arenas)
        thread = threading.get_ident()
        self._runs[thread] = options, time.monotonic()
        try:
            runs = self._bound or self._session
            found: list[Array] = runs.run(outputs or self._outputs, feeds, options)
        except (MemoryError, *ERRORS) as error:
            raise self._refusal(error, options) from error
        finally:
            del self._runs[thread]
        self._tight = False
        return found

    def end_runs(self, before: float) -> int:
        """Tell runs that began before that moment, of `time.monotonic`, to end; returns how many.

        They end after their current operator.
        """
        late = [options for options, began in list(self._runs.values()) if began < before]
        return sum(map(_end, late))

    def end_run_of(self, thread: int) -> int:
        """Tell the run of a thread, by its identifier, to end; returns how many there were."""
        options, _ = self._runs.get(thread, (None, 0.0))
        return int(options is not None and _end(options))

    def _refusal(self, error: Exception, options: onnxruntime.RunOptions) -> SealgateError:
        detail = f"onnxruntime: {error}"
        if options.terminate:
            return SealgateError(Reason.RUN_HUNG, detail)
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            self._tight = bool(self._arenas)
            return SealgateError(Reason.OUT_OF_MEMORY, detail)
        return SealgateError(Reason.INTERNAL, detail)


def end_runs_of(thread: int) -> int:
    """Tell all runs of a thread to end, as `Session.end_run_of`; returns how many."""
    with _sessions_lock:
        sessions = list(_sessions)
    return sum(session.end_run_of(thread) for session in sessions)


def _end(options: onnxruntime.RunOptions) -> bool:
    """Whether the run was not told before."""
    if options.terminate:
        return False
    options.terminate = True
    return True


def scalar(value: float) -> npt.NDArray[np.float32]:
    """A float32 of no dimensions, as graphs take their settings."""
    return np.array(value, np.float32)
