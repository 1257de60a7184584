"""ONNX graphs opened from bytes in memory and run on the CPU.

Nothing is ever opened by path: the bytes that were hashed are the bytes that are loaded, and a
graph without external data gives onnxruntime no file to look for. What is not plain ONNX is
refused before onnxruntime sees it.
"""

import inference.telemetry  # noqa: F401

# isort: split
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from registry.formats import check_file
from sealgate.reasons import Reason, Refusal

Array = npt.NDArray[Any]

_PROVIDERS = ["CPUExecutionProvider"]
# onnxruntime's exceptions have no base of their own; its Python layer adds the last three.
_ERRORS = (
    errors.EPFail,
    errors.EngineError,
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.ModelLoadCanceled,
    errors.ModelLoaded,
    errors.ModelRequiresCompilation,
    errors.NoModel,
    errors.NoSuchFile,
    errors.NotFound,
    errors.NotImplemented,
    errors.RuntimeException,
    RuntimeError,
    TypeError,
    ValueError,
)
# What the arena, the system and a GPU say where memory lacks; there is no code of its own for it.
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "Available memory of", "out of memory")
_SHRINK = "memory.enable_memory_arena_shrinkage"
_QUIET = 4
# Files are checked by what their names say they are; a graph in memory has none.
_NAME = "graph.onnx"


class Session:
    """One loaded graph. Safe to run from several threads at once."""

    __slots__ = ("_arena", "_outputs", "_runs", "_session", "_tight", "inputs")

    def __init__(self, session: onnxruntime.InferenceSession, outputs: Sequence[str]) -> None:
        self._session = session
        self._outputs = tuple(outputs)
        # By thread: the options of its run, and since when it runs.
        self._runs: dict[int, tuple[onnxruntime.RunOptions, float]] = {}
        # Without an arena nothing is cached, and asking to shrink it fails.
        self._arena = session.get_session_options().enable_cpu_mem_arena
        self._tight = False
        self.inputs = frozenset(value.name for value in session.get_inputs())

    @classmethod
    def open(cls, graph: bytes, outputs: Sequence[str], threads: int = 1) -> Self:
        """Load `graph`, to answer `outputs`, on `threads` threads a run.

        Raises: FORMAT_REFUSED, EXTERNAL_DATA (see `registry.formats`); FORMAT_REFUSED where
        onnxruntime cannot load it or would run it elsewhere than on the CPU; GRAPH_MISMATCH where
        the graph lacks an output.
        """
        check_file(_NAME, graph)
        try:
            session = onnxruntime.InferenceSession(graph, _options(threads), providers=_PROVIDERS)
        except _ERRORS as error:
            raise Refusal(Reason.FORMAT_REFUSED, f"onnxruntime: {error}") from error
        # Asking is not enough: onnxruntime falls back in silence.
        if session.get_providers() != _PROVIDERS:
            raise Refusal(Reason.FORMAT_REFUSED, f"providers are {session.get_providers()}")
        missing = set(outputs) - {value.name for value in session.get_outputs()}
        if missing:
            raise Refusal(Reason.GRAPH_MISMATCH, f"the graph has no output {sorted(missing)}")
        return cls(session, outputs)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] = ()) -> list[Array]:
        """The outputs asked for, here or when it was opened, in order.

        Raises: OUT_OF_MEMORY; RUN_HUNG where it was ended; else INTERNAL, since whoever calls has
        checked the inputs. The run after one that found no memory gives back what is cached.
        """
        options = onnxruntime.RunOptions()
        if self._tight:
            options.add_run_config_entry(_SHRINK, "cpu:0")
        thread = threading.get_ident()
        self._runs[thread] = options, time.monotonic()
        try:
            found: list[Array] = self._session.run(outputs or self._outputs, feeds, options)
        except (MemoryError, *_ERRORS) as error:
            raise self._refusal(error, options) from error
        finally:
            del self._runs[thread]
        self._tight = False
        return found

    def end_runs(self, before: float) -> int:
        """Tell runs that began before that moment, of `time.monotonic`, to end; how many were told.

        They do after the operator that they are in.
        """
        ended = 0
        for options, began in list(self._runs.values()):
            if began < before and not options.terminate:
                options.terminate = True
                ended += 1
        return ended

    def _refusal(self, error: Exception, options: onnxruntime.RunOptions) -> Refusal:
        detail = f"onnxruntime: {error}"
        if options.terminate:
            return Refusal(Reason.RUN_HUNG, detail)
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            self._tight = self._arena
            return Refusal(Reason.OUT_OF_MEMORY, detail)
        return Refusal(Reason.INTERNAL, detail)


def scalar(value: float) -> npt.NDArray[np.float32]:
    """A float32 of no dimensions, as graphs take their settings."""
    return np.array(value, np.float32)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _QUIET
    # The bytes are ONNX, whatever they look like; onnxruntime's own format is never guessed.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Threads that spin between runs take the cores on which callers prepare the next batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options
