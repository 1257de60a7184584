"""Detection of a machine: its processor's instructions, and the GPUs of NVIDIA's driver."""

import sys
from pathlib import Path

import pytest

from inference.runtime import machine
from inference.runtime.machine import Gpu, HostMachine, find_gpus, instructions

X86 = "processor\t: 0\nflags\t\t: fpu sse avx2 avx512f avx512_vnni avx512vl\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86, ("avx2", "avx512f", "avx512_vnni")),
        (ARM, ("asimddp", "i8mm")),
        ("flags : fpu sse\n", ()),
        ("", ()),
    ],
)
def test_instructions(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert instructions(path) == expected


def test_a_processor_that_cannot_be_read_has_none(tmp_path: Path) -> None:
    assert instructions(tmp_path / "none") == ()


def driver(says: str, status: int = 0) -> list[str]:
    return [sys.executable, "-c", f"print({says!r}); raise SystemExit({status})"]


def test_what_the_driver_lists() -> None:
    listed = "NVIDIA H100 80GB HBM3, 81559\nNVIDIA GB10, [N/A]"
    expected = (Gpu("NVIDIA H100 80GB HBM3", 81559 << 20), Gpu("NVIDIA GB10", 0))
    assert find_gpus(driver(listed)) == expected


@pytest.mark.parametrize("query", [driver("no devices, 0", 9), ["/no/such/program"], driver("")])
def test_without_a_driver_there_is_none(query: list[str]) -> None:
    assert find_gpus(query) == ()


def test_a_gpu_that_onnxruntime_cannot_use_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "find_gpus", lambda: (Gpu("NVIDIA L4", 1),))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = HostMachine.look(tmp_path / "not" / "there")
    assert "provider = 'cuda' cannot be used here" in found.gpu_problem
    assert found.free_disk > 0
    assert 1 <= found.cores <= found.cores_of_machine
