"""Providers: the one that is configured or none, and a fallback that says that it is one.

The machine that runs the tests may have no GPU. The tests check that a missing provider is noticed,
refused or recorded; a provider's answers cannot be tested without its device.
"""

import logging
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from inference.backends.local import LocalLoader
from inference.engine.ready_version import ReadyVersion
from inference.runtime import providers
from inference.runtime.session import Session
from inference.runtime.settings import (
    CUDA,
    PROVIDERS,
    TENSORRT,
    CpuSettings,
    RunSettings,
    RuntimeSettings,
)
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from tests.support.builders.documents.people import refused
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows

MODEL = Perceptron.random()
X = np.ones((3, MODEL.inputs), np.float32)


@pytest.fixture(params=[CUDA, TENSORRT])
def absent(request: pytest.FixtureRequest) -> str:
    """A provider that cannot be used here."""
    names = PROVIDERS[request.param]
    session = onnxruntime.InferenceSession(MODEL.serving(), providers=list(names))
    if set(names) <= set(session.get_providers()):
        pytest.skip("this machine has it")
    return str(request.param)


@pytest.mark.parametrize(
    "stated",
    [
        {"provider": "gpu"},
        {"tolerance": 0.2},
        {"arena_mb": 1 << 21},
        {"cuda_graphs": True},
        {"fallback": True},
        {"device": "0"},
        {"provider": "cuda", "device": "NPU"},
        {"provider": "openvino", "device": "TPU"},
        {"provider": "openvino", "device": "CPU\nNPU"},
        {"provider": "openvino", "device": "AUTO:NPU,CPU"},
        {"provider": "openvino", "device": "AUTO:", "fallback": True},
        {"provider": "qnn", "device": "0"},
    ],
)
def test_settings_that_make_no_sense(stated: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="runtime"):
        RuntimeSettings(**stated)


def test_a_provider_that_is_not_there_is_found_out_at_the_start(absent: str) -> None:
    with pytest.raises(ConfigError, match="fallback"):
        LocalLoader(CpuSettings(1), settings=RuntimeSettings(absent))


def test_a_graph_is_not_run_elsewhere_in_silence(absent: str) -> None:
    with refused(Reason.ENGINE_UNSUITABLE):
        Session.open(MODEL.serving(), ("logits",), 1, RuntimeSettings(absent))


def test_a_fallback_is_recorded(absent: str, caplog: pytest.LogCaptureFixture) -> None:
    settings = RuntimeSettings(absent, fallback=True)
    caplog.set_level(logging.WARNING)
    LocalLoader(CpuSettings(1), settings=settings)
    assert f"cpu for want of {absent}" in caplog.text
    files = VersionFiles.of(MODEL).encode()
    running = RunSettings(settings)
    version = ReadyVersion.build("", files, CpuSettings(1), running=running)
    assert version.engine == f"in-process, digest checked, on cpu for want of {absent}"
    assert version.place == f"cpu for want of {absent}"
    rows = clean_rows(MODEL, 4)
    plain = ReadyVersion.build("", files, CpuSettings(1))
    assert (plain.engine, plain.arithmetic) == ("in-process, digest checked", "int8")
    expected, found = (each.submit(rows).outputs["logits"] for each in (plain, version))
    assert np.array_equal(expected, found)


@pytest.mark.parametrize(
    ("stated", "name", "option", "value"),
    [
        ({"provider": "cuda", "device": "1"}, "CUDAExecutionProvider", "device_id", "1"),
        ({"provider": "tensorrt", "device": "1"}, "TensorrtExecutionProvider", "device_id", "1"),
        ({"provider": "rocm", "device": "2"}, "ROCMExecutionProvider", "device_id", "2"),
        ({"provider": "migraphx", "device": "0"}, "MIGraphXExecutionProvider", "device_id", "0"),
        ({"provider": "openvino"}, "OpenVINOExecutionProvider", "device_type", "CPU"),
        (
            {"provider": "openvino", "device": "NPU"},
            "OpenVINOExecutionProvider",
            *("device_type", "NPU"),
        ),
        (
            {"provider": "openvino", "device": "AUTO:NPU,CPU", "fallback": True},
            *("OpenVINOExecutionProvider", "device_type", "AUTO:NPU,CPU"),
        ),
        ({"provider": "qnn"}, "QNNExecutionProvider", "backend_type", "htp"),
        ({"provider": "qnn", "device": "gpu"}, "QNNExecutionProvider", "backend_type", "gpu"),
    ],
)
def test_the_device_reaches_the_provider_and_every_record(
    monkeypatch: pytest.MonkeyPatch, stated: dict[str, Any], name: str, option: str, value: str
) -> None:
    """With providers that are there for once."""
    asked: list[tuple[str, dict[str, str]]] = []

    class Simulated:
        def __init__(self, *_: Any, providers: Any, **__: Any) -> None:
            asked.extend(providers)
            self._names = [each for each, _ in providers]

        def get_providers(self) -> list[str]:
            return [*self._names, "CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Simulated)
    settings = RuntimeSettings(**stated)
    _, place = providers.open_session(MODEL.serving(), 1, settings)
    assert dict(asked)[name][option] == value
    device = stated.get("device")
    assert place == (f"{stated['provider']} {device}" if device else stated["provider"])


@pytest.mark.parametrize("provider", ["rocm", "migraphx", "qnn", "openvino"])
def test_a_device_that_is_not_there_is_refused_by_its_name(provider: str) -> None:
    device = {"openvino": "NPU", "qnn": "htp"}.get(provider, "0")
    with pytest.raises(ConfigError, match=f"'{provider}', device = '{device}', cannot be used"):
        LocalLoader(CpuSettings(1), settings=RuntimeSettings(provider, device))


class Opened:
    """A session as a provider would open it that leaves some operators to the processor."""

    def __init__(self, *left: str) -> None:
        self._left = left

    def get_providers(self) -> list[str]:
        return [*PROVIDERS[CUDA], "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        def part(name: str, *ops: str) -> Any:
            nodes = [SimpleNamespace(op_type=op) for op in ops]
            return SimpleNamespace(ep_name=name, get_nodes=lambda: nodes)

        return [part(PROVIDERS[CUDA][0], "MatMul"), part("CPUExecutionProvider", *self._left)]


@pytest.fixture
def leaving(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes CUDA one that leaves such operators to the processor, unless it may leave none."""

    def leave(*ops: str) -> None:
        def create(
            graph: bytes, options: onnxruntime.SessionOptions, *_: Any
        ) -> onnxruntime.InferenceSession:
            try:
                strict = options.get_session_config_entry("session.disable_cpu_ep_fallback")
            except RuntimeError:
                strict = "0"
            if strict == "1" and ops:
                raise RuntimeError("nodes are left")
            return Opened(*ops)

        monkeypatch.setattr(providers, "create_session", create)

    return leave


def test_arithmetic_on_shapes_may_stay_on_the_processor(leaving: Any) -> None:
    settings = RuntimeSettings(CUDA)
    leaving()
    assert providers.open_session(b"", 1, settings)[1] == "cuda"
    leaving("Shape", "Gather")
    assert providers.open_session(b"", 1, settings)[1] == "cuda, shapes on cpu"
    leaving("Shape", "MatMul")
    with refused(Reason.ENGINE_UNSUITABLE):
        providers.open_session(b"", 1, settings)
    fallback = RuntimeSettings(CUDA, fallback=True)
    place = providers.open_session(MODEL.serving(), 1, fallback)[1]
    assert place == "cpu for want of cuda"


def test_an_onnxruntime_that_cannot_tell_is_not_believed(
    leaving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving("Shape")
    monkeypatch.delattr(Opened, "get_provider_graph_assignment_info")
    with refused(Reason.ENGINE_UNSUITABLE):
        providers.open_session(b"", 1, RuntimeSettings(CUDA))


def test_a_run_that_fails_is_not_tried_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime's Python layer would exchange the providers of the session and go on."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *_, **options: asked.update(options) or Opened()
    )
    providers.open_session(b"", 1, RuntimeSettings(CUDA))
    assert asked["enable_fallback"] is False


_ARENA = """
import sys
import numpy as np
from inference.runtime.settings import CpuSettings
from inference.backends.local import LocalLoader
from inference.runtime.session import Session
from inference.runtime.settings import RuntimeSettings
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError
from tests.support.builders.models.hard_graphs import hungry

settings = RuntimeSettings(arena_mb=100)
LocalLoader(CpuSettings(1), settings=settings)
session = Session.open(hungry(4, 3), ("logits",), 1, settings)
for rows in (2, 16, 2):
    try:
        print(len(session.run({"x": np.ones((rows, 4), np.float32)})[0]))
    except SealgateError as refusal:
        print(refusal.reason.name)
LocalLoader(CpuSettings(1), settings=settings)
try:
    LocalLoader(CpuSettings(1), settings=RuntimeSettings(arena_mb=50))
except ConfigError:
    print("ConfigError")
"""


def test_an_arena_grows_to_its_bound_and_no_further() -> None:
    """In a process of its own, since the arena is the process'. A row takes 16 MiB."""
    command = [sys.executable, "-c", _ARENA]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "OUT_OF_MEMORY", "2", "ConfigError"]


_DEFAULT = """
import numpy as np
from inference.runtime.machine import with_bounded_arena
from inference.runtime.session import Session
from inference.runtime.settings import RuntimeSettings
from sealgate.reasons import SealgateError
from tests.support.builders.models.hard_graphs import hungry

settings = with_bounded_arena(RuntimeSettings(), memory=200 << 20)
session = Session.open(hungry(4, 3), ("logits",), 1, settings)
for rows in (2, 2, 16, 2):
    try:
        print(len(session.run({"x": np.ones((rows, 4), np.float32)})[0]))
    except SealgateError as refusal:
        print(refusal.reason.name)
"""


def test_an_arena_without_a_stated_bound_has_half_of_the_memory() -> None:
    """A run that asked for gigabytes ended the process. A row takes 16 MiB."""
    command = [sys.executable, "-c", _DEFAULT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "2", "OUT_OF_MEMORY", "2"]
