"""Tiers, what fits, and configuration that the real readers take."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config.document import GatewayConfig
from gateway.config.sections import GatewayLimits
from gateway.doctor.commands import (
    Tier,
    engine_part,
    findings,
    gateway_part,
    parameters_that_fit,
)
from inference.runtime.machine import ADRIFT, SYNCHRONIZED, Gpu, HostMachine
from inference.server.config import EngineConfig
from sealgate.setup.configuration import EnginePlace
from tests.unit.gateway.config.test_document import GOOD

GIB = 1 << 30
SERVER = HostMachine(
    cores=8,
    cores_of_machine=16,
    memory=16 * GIB,
    instructions=("avx2", "avx512f", "avx512_vnni"),
    gpus=(),
    gpu_problem="",
    free_disk=100 * GIB,
    clock=SYNCHRONIZED,
    python="3.13.1",
    onnxruntime="1.31.1",
    providers=("CPUExecutionProvider",),
)
SMALL = replace(SERVER, memory=GIB // 2)
DESK = replace(SERVER, gpus=(Gpu("NVIDIA GeForce RTX 4090", 24 * GIB),))
RACK = replace(SERVER, gpus=(Gpu("NVIDIA H100 80GB HBM3", 80 * GIB),))
BROKEN = replace(RACK, gpu_problem="libcudnn.so.9 is not there")
SILENT = replace(SERVER, memory=0)


@pytest.mark.parametrize(
    ("machine", "tier"),
    [
        (SERVER, Tier.CPU_SERVER),
        (DESK, Tier.CONSUMER_GPU),
        (RACK, Tier.DATA_CENTRE_GPU),
        (BROKEN, Tier.CPU_SERVER),
        (replace(DESK, gpus=(Gpu("NVIDIA RTX A6000", 48 * GIB),)), Tier.CONSUMER_GPU),
        (
            replace(DESK, gpus=(Gpu("NVIDIA RTX PRO 6000 Blackwell Server Edition", 96 * GIB),)),
            Tier.DATA_CENTRE_GPU,
        ),
        (replace(DESK, gpus=(Gpu("Tesla T4", 15 * GIB),)), Tier.DATA_CENTRE_GPU),
    ],
)
def test_tiers(machine: HostMachine, tier: Tier) -> None:
    assert Tier.of(machine) is tier


@pytest.mark.parametrize("machine", [SERVER, SMALL, DESK, RACK, BROKEN, SILENT])
class TestReaders:
    def test_the_gateway_takes_its_part(self, tmp_path: Path, machine: HostMachine) -> None:
        path = tmp_path / "gateway.toml"
        path.write_text(GOOD + gateway_part(machine, separate=False))
        config = GatewayConfig.read(path)
        on_gpu = Tier.of(machine) is not Tier.CPU_SERVER
        assert config.runtime.provider == ("cuda" if on_gpu else "cpu")
        assert config.limits.threads <= config.limits.concurrent_calls

    def test_with_an_engine_of_its_own_each_takes_its_part(
        self, tmp_path: Path, machine: HostMachine
    ) -> None:
        place = EnginePlace()
        gateway, engine = tmp_path / "gateway.toml", tmp_path / "engine.toml"
        part = gateway_part(machine, separate=True)
        gateway.write_text(GOOD + place.gateway_section() + part)
        engine.write_text(place.configuration(["root.pem"], 1) + "\n" + engine_part(machine))
        assert GatewayConfig.read(gateway).all_engines
        runtime = EngineConfig.read(engine).runtime
        assert runtime.is_on_gpu == (Tier.of(machine) is not Tier.CPU_SERVER)


def limits(tmp_path: Path, machine: HostMachine) -> GatewayLimits:
    path = tmp_path / "gateway.toml"
    path.write_text(GOOD + gateway_part(machine, separate=False))
    return GatewayConfig.read(path).limits


def test_callers_hold_a_quarter_of_memory_at_most(tmp_path: Path) -> None:
    held = limits(tmp_path, SMALL)
    assert held.concurrent_calls * held.message_bytes <= SMALL.memory // 4
    assert held.watchers < held.concurrent_calls


@pytest.mark.parametrize("machine", [SERVER, SILENT])
def test_where_memory_is_no_bound_limits_stay_as_they_are(
    tmp_path: Path, machine: HostMachine
) -> None:
    assert limits(tmp_path, machine) == GatewayLimits()


def test_what_fits() -> None:
    assert parameters_that_fit(SILENT) == parameters_that_fit(SMALL) == 0
    assert parameters_that_fit(SERVER) == (8 * GIB - GIB // 4) // 32
    assert parameters_that_fit(SERVER, separate=True) < parameters_that_fit(SERVER)
    roomy = replace(RACK, memory=1024 * GIB)
    assert parameters_that_fit(replace(roomy, gpus=(Gpu("NVIDIA L4", 2 * GIB),))) == GIB // 32
    assert parameters_that_fit(roomy) == GIB


def test_a_sound_machine_needs_nothing() -> None:
    assert findings(SERVER) == findings(DESK) == []


@pytest.mark.parametrize(
    ("machine", "word"),
    [
        (BROKEN, "libcudnn"),
        (replace(SERVER, instructions=("avx2",)), "INT8"),
        (replace(SERVER, clock=ADRIFT), "clock"),
        (replace(SERVER, free_disk=GIB), "disk"),
        (SMALL, "not memory enough"),
        (SILENT, "could not be read"),
    ],
)
def test_each_finding(machine: HostMachine, word: str) -> None:
    (found,) = findings(machine)
    assert word in found
