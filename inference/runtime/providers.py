"""Devices of onnxruntime and torch: the one that is configured, with a fallback only if configured.

onnxruntime falls back silently: to the CPU if a provider's library does not load, node by node if a
kernel is missing, and permanently if a run fails. None of this happens here. A graph runs on the
provider, except for shape arithmetic, which CUDA leaves to the CPU on purpose. If it cannot, it is
refused, or runs on the CPU if the settings allow that. A session's `place` says where it runs.

    cpu
    cuda, cuda:1    an NVIDIA card, by default the first
    rocm, rocm:1    an AMD card: torch built for ROCm has it under the name `cuda`
    mps             Apple's

The module `torch` is passed in, since only training and generation import it.
"""

import functools
import logging
import re
from dataclasses import dataclass
from typing import Any

import onnxruntime
from onnx import parser
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from inference.runtime.graph_rewrites import keep_read_inputs
from inference.runtime.settings import (
    CPU,
    CUDA,
    MIGRAPHX,
    OPENVINO,
    PROVIDERS,
    QNN,
    ROCM,
    TENSORRT,
    RuntimeSettings,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError

_log = logging.getLogger(__name__)

# onnxruntime's exceptions have no base of their own; its Python layer adds the last three.
ERRORS = (
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
_CPU_NAME = PROVIDERS[CPU][0]
_SHAPE_OPS = frozenset(
    {"Shape", "Size", "Gather", "Concat", "Unsqueeze", "Squeeze", "Slice", "Cast", "Constant"}
)
_QUIET = 4
_PROBE = """<ir_version: 9, opset_import: ["" : 20]>
probe (float[n, 2] x) => (float[n, 2] y) { y = Add(x, x) }"""
MPS = "mps"
_DEVICE = re.compile(rf"{CPU}|{MPS}|({CUDA}|{ROCM})(:[0-9]{{1,2}})?")


def open_session(
    graph: bytes, threads: int, settings: RuntimeSettings
) -> tuple[onnxruntime.InferenceSession, str]:
    """A session of the graph, and where it runs, in words.

    Raises: FORMAT_REFUSED for what onnxruntime cannot load on the CPU; ENGINE_UNSUITABLE if another
    provider is configured and cannot run all of it.
    """
    if settings.provider == CPU:
        session = _on_cpu(graph, threads, settings)
        # Asking is not enough: see above.
        if session.get_providers() != [_CPU_NAME]:
            raise SealgateError(Reason.FORMAT_REFUSED, f"providers are {session.get_providers()}")
        return session, CPU
    why = ""
    for strict in (True, False):
        try:
            session = create_session(graph, _options(threads, settings, strict), settings, threads)
        except ERRORS as error:
            why = why or f"onnxruntime: {error}"
            continue
        given = tuple(session.get_providers())
        if given != (*PROVIDERS[settings.provider], _CPU_NAME):
            why = f"providers are {list(given)}"
        elif strict:
            return session, settings.place
        elif (ops := _left_to_cpu(session)) <= _SHAPE_OPS:
            return session, f"{settings.place}, shapes on {CPU}"
        else:
            why = f"it has no kernel for {', '.join(sorted(ops - _SHAPE_OPS))}"
    if not settings.fallback:
        raise SealgateError(Reason.ENGINE_UNSUITABLE, f"on {settings.place}: {why}")
    _log.warning("a graph falls back from %s to the CPU: %s", settings.place, why)
    return _on_cpu(graph, threads, settings), f"{CPU} for want of {settings.place}"


def check_provider(settings: RuntimeSettings) -> None:
    """Check at start whether the provider is available.

    Raises: ConfigError if it is not, and `fallback` is not set either.
    """
    try:
        _, place = open_session(parser.parse_model(_PROBE).SerializeToString(), 1, settings)
    except SealgateError as refusal:
        device = f", device = {settings.device!r}," if settings.device else ""
        raise ConfigError(
            f"[runtime] provider = {settings.provider!r}{device} cannot be used here "
            f"({refusal.detail}); "
            "install what it needs, or allow the processor with fallback = true"
        ) from refusal
    if place != settings.place:
        _log.warning("[runtime] graphs run on %s", place)


@functools.cache
def bound_arena(mebibytes: int, doubling: bool = False) -> None:
    """Let sessions that ask for it share one arena of at most that size, once per process. It grows
    by what is asked for, or by `doubling`, as onnxruntime's own do: faster, and less tight.

    Raises: ConfigError if another bound was set before.
    """
    if bound_arena.cache_info().currsize:
        raise ConfigError("[runtime] arena_mb was set to another value in this process")
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    bounds = {"max_mem": mebibytes << 20, "arena_extend_strategy": int(not doubling)}
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(bounds))


def _left_to_cpu(session: onnxruntime.InferenceSession) -> set[str]:
    """The operators that the provider does not run; all of them if onnxruntime cannot tell."""
    assignment = getattr(session, "get_provider_graph_assignment_info", lambda: None)()
    if assignment is None:
        return {"anything"}
    parts = [part for part in assignment if part.ep_name == _CPU_NAME]
    return {node.op_type for part in parts for node in part.get_nodes()}


def _on_cpu(graph: bytes, threads: int, settings: RuntimeSettings) -> onnxruntime.InferenceSession:
    try:
        options = _options(threads, settings, strict=False)
        return onnxruntime.InferenceSession(graph, options, providers=[_CPU_NAME])
    except ERRORS as error:
        raise SealgateError(Reason.FORMAT_REFUSED, f"onnxruntime: {error}") from error


def create_session(
    graph: bytes,
    options: onnxruntime.SessionOptions,
    settings: RuntimeSettings,
    threads: int,
) -> onnxruntime.InferenceSession:
    if settings.provider == OPENVINO:
        # It takes inputs by their place, and forgets those that nothing reads.
        graph = keep_read_inputs(graph)
    details = _details(settings, threads)
    providers = [(name, details[name]) for name in PROVIDERS[settings.provider]]
    # Else a provider that fails, now or in a later run, is exchanged in silence.
    return onnxruntime.InferenceSession(graph, options, providers=providers, enable_fallback=False)


def _details(settings: RuntimeSettings, threads: int) -> dict[str, dict[str, str]]:
    """The options of each provider."""
    graphs = "1" if settings.cuda_graphs else "0"
    cuda = {
        "arena_extend_strategy": "kSameAsRequested",
        # The default search times kernels, so that two processes may round in two ways.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Products of 10 bits of mantissa are not what was calibrated.
        "use_tf32": "0",
        "enable_cuda_graph": graphs if settings.provider == CUDA else "0",
    }
    number = {"device_id": settings.device} if settings.device else {}
    if settings.arena_mb:
        cuda["gpu_mem_limit"] = str(settings.arena_mb << 20)
    return {
        PROVIDERS[CUDA][0]: cuda | number,
        PROVIDERS[TENSORRT][0]: {"trt_cuda_graph_enable": graphs} | number,
        PROVIDERS[ROCM][0]: number,
        PROVIDERS[MIGRAPHX][0]: number,
        PROVIDERS[QNN][0]: {"backend_type": settings.device or "htp"},
        # It would take a thread for every core of the host.
        PROVIDERS[OPENVINO][0]: {
            "device_type": settings.device or "CPU",
            "num_of_threads": str(threads),
            "num_streams": "1",
            "precision": "ACCURACY",
        },
    }


def _options(threads: int, settings: RuntimeSettings, strict: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _QUIET
    entries: dict[str, Any] = {
        # The bytes are ONNX, whatever they look like; onnxruntime's own format is never guessed.
        "session.load_model_format": "ONNX",
        # Threads that spin between runs take the cores on which callers prepare the next batch.
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
    }
    if strict:
        entries["session.disable_cpu_ep_fallback"] = "1"
    elif settings.provider != CPU:
        entries["session.record_ep_graph_assignment_info"] = "1"
    if settings.arena_mb and not settings.is_on_gpu:
        entries["session.use_env_allocators"] = "1"
        # Weights stay as long as their version does: they are not what the bound is for.
        entries["session.use_device_allocator_for_initializers"] = "1"
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    return options


def check_device(section: str, device: str, fallback: bool) -> None:
    """Check the settings `device` and `fallback` of a section as far as text tells.

    Raises: ConfigError.
    """
    if not _DEVICE.fullmatch(device):
        known = "cpu, cuda, cuda:1, rocm, rocm:1, mps"
        raise ConfigError(f"[{section}] device = {device!r} is none of {known} and the like")
    if fallback and device == CPU:
        raise ConfigError(f"[{section}] fallback is to the CPU, which is already the device")


@dataclass(frozen=True, slots=True)
class TorchDevice:
    """A device by the `name` that torch has for it.

    `place` is what records say: the name in the configuration's words, or `cpu for want of` the one
    that was asked for. `hardware` is the card's own name, empty for the CPU.
    """

    name: str = CPU
    place: str = CPU
    hardware: str = ""

    @property
    def is_cpu(self) -> bool:
        return self.name == CPU

    @property
    def said(self) -> str:
        """The place and, of a card, which one it is."""
        return f"{self.place} ({self.hardware})" if self.hardware else self.place


ON_TORCH_CPU = TorchDevice()


def select_device(section: str, device: str, fallback: bool, torch: Any) -> TorchDevice:
    """The device to compute on, of those that `torch` has on this machine.

    Raises: ConfigError, with the device's name, if it is not there and `fallback` is not set.
    """
    there = devices_of(torch)
    wanted = f"{device}:0" if device in (CUDA, ROCM) else device
    if wanted in there:
        found = there[wanted]
        return TorchDevice(found.name, device, found.hardware)
    if fallback:
        return TorchDevice(CPU, f"{CPU} for want of {device}")
    raise ConfigError(
        f"[{section}] device = {device!r} cannot be used here: torch {torch.__version__} has "
        f"{', '.join(there)}; install what it needs, or allow the CPU with fallback = true"
    )


def devices_of(torch: Any) -> dict[str, TorchDevice]:
    """The devices on which torch can compute here, by their name in a configuration; CPU first."""
    found = [ON_TORCH_CPU]
    if torch.cuda.is_available():
        kind = ROCM if torch.version.hip else CUDA
        for number in range(torch.cuda.device_count()):
            name = f"{CUDA}:{number}"
            card = str(torch.cuda.get_device_name(number))
            found.append(TorchDevice(name, f"{kind}:{number}", card))
    if torch.backends.mps.is_available():
        found.append(TorchDevice(MPS, MPS, "Apple"))
    return {each.place: each for each in found}
