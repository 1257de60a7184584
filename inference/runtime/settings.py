"""The section `[runtime]`: execution provider, fallback, memory and GPU bounds."""

from dataclasses import dataclass

from sealgate.settings import ConfigError

CPU, CUDA, TENSORRT, OPENVINO = "cpu", "cuda", "tensorrt", "openvino"
PROVIDERS = {
    CPU: ("CPUExecutionProvider",),
    CUDA: ("CUDAExecutionProvider",),
    # CUDA runs what TensorRT has no kernel for.
    TENSORRT: ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
    OPENVINO: ("OpenVINOExecutionProvider",),
}
"""What onnxruntime calls each provider that may be configured."""

_LARGEST_ARENA_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """The `provider` that must run every graph. With `fallback`, a graph that it cannot run whole
    runs on the CPU, and every record says so.

    `deterministic`: an answer is the same, bit for bit, in any batch. `tolerance` is the allowed
    deviation of golden answers, and of answers in other batches (absolute and relative); by default
    1e-5 for golden ones and none for others. A run of a large graph takes `threads_per_run` cores.
    Beyond weights, runs use at most `arena_mb` MiB: of all versions together on the CPU, of each
    graph on a GPU; 0 means no bound. `cuda_graphs` replays captured graphs for batches of fixed
    sizes.
    """

    provider: str = CPU
    fallback: bool = False
    deterministic: bool = False
    tolerance: float = 0.0
    threads_per_run: int = 1
    arena_mb: int = 0
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise ConfigError(f"[runtime] provider is one of {', '.join(PROVIDERS)}")
        if self.tolerance > 0.1:
            raise ConfigError("[runtime] tolerance must be at most 0.1")
        if self.arena_mb > _LARGEST_ARENA_MB:
            raise ConfigError(f"[runtime] arena_mb is {_LARGEST_ARENA_MB} at most")
        if self.cuda_graphs and not self.is_on_gpu:
            raise ConfigError('[runtime] cuda_graphs needs provider = "cuda" or "tensorrt"')
        if self.fallback and self.provider == CPU:
            raise ConfigError("[runtime] fallback is to the CPU, which is already the provider")

    @property
    def is_on_gpu(self) -> bool:
        return self.provider in (CUDA, TENSORRT)


ON_CPU = RuntimeSettings()
