"""ONNX graphs opened from bytes in memory and run on the CPU.

Nothing is ever opened by path: the bytes that were hashed are the bytes that are loaded, and a
graph without external data gives onnxruntime no file to look for. What is not plain ONNX is
refused before onnxruntime sees it.
"""

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
_QUIET = 4
# Files are checked by what their names say they are; a graph in memory has none.
_NAME = "graph.onnx"


class Session:
    """One loaded graph. Safe to run from several threads at once."""

    __slots__ = ("_outputs", "_session", "inputs")

    def __init__(self, session: onnxruntime.InferenceSession, outputs: Sequence[str]) -> None:
        self._session = session
        self._outputs = tuple(outputs)
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

        Raises: INTERNAL, since whoever calls has checked the inputs.
        """
        try:
            found: list[Array] = self._session.run(outputs or self._outputs, feeds)
        except _ERRORS as error:
            raise Refusal(Reason.INTERNAL, f"onnxruntime: {error}") from error
        return found


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
