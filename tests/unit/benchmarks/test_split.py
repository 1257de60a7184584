"""What a split decoder is held against."""

from typing import Any

from benchmarks.split import judge


def row(architecture: str, precision: str, off: float, device: str = "cpu") -> dict[str, Any]:
    return {"architecture": architecture, "device": device, "precision": precision, "off": off}


def test_the_worst_architecture_counts() -> None:
    found = judge(
        [
            row("llama", "float64", 1e-12),
            row("qwen2", "float64", 2e-9),
            row("llama", "float32", 3e-7),
            row("qwen2", "float32", 2e-7),
        ]
    )
    assert [(each.value, each.met) for each in found[:2]] == [(2e-9, False), (3e-7, True)]


def test_without_cards_nccl_is_marked_not_run() -> None:
    found = judge([row("llama", "float64", 0.0), row("llama", "float32", 0.0)])
    assert [each.line().startswith("NOT RUN") for each in found] == [False, False, True, True]
    assert {each.why for each in found[2:]} == {"no two cards on this machine"}
    cards = judge([row("llama", "float64", 1e-12, "cuda")])
    assert [each.value for each in cards] == [None, None, 1e-12, None]
