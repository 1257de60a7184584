"""Attention windows as a version states them."""

from typing import Any

import pytest

from inference.llm.terms import WHOLE, AttentionWindows
from sealgate.reasons import Reason, SealgateError

WINDOWS = AttentionWindows(4, (16, WHOLE, 128))
BY_HEAD = AttentionWindows(4, (16, WHOLE, 128, 128, 16, 32), 2)


@pytest.mark.parametrize("windows", [WINDOWS, BY_HEAD])
def test_windows_are_read_again(windows: AttentionWindows) -> None:
    assert AttentionWindows.of_json(windows.as_json()) == windows


def test_kv_heads_are_stated_only_where_there_are_several() -> None:
    assert "heads" not in WINDOWS.as_json()
    assert BY_HEAD.as_json()["heads"] == 2
    assert [BY_HEAD.of_layer(at) for at in range(BY_HEAD.layers)] == [
        (16, WHOLE),
        (128, 128),
        (16, 32),
    ]


@pytest.mark.parametrize(
    "said",
    [
        None,
        {"sink": 4},
        {"sink": 4, "windows": [16], "more": 1},
        {"sink": -1, "windows": [16]},
        {"sink": 1025, "windows": [16]},
        {"sink": 4.0, "windows": [16]},
        {"sink": 4, "windows": 16},
        {"sink": 4, "windows": []},
        {"sink": 4, "windows": [16] * 1025},
        {"sink": 4, "windows": [True]},
        {"sink": 4, "windows": [-1]},
        {"sink": 4, "windows": [(1 << 20) + 1]},
        {"sink": 4, "windows": [16, 16], "heads": 1},
        {"sink": 4, "windows": [16, 16], "heads": 0},
        {"sink": 4, "windows": [16, 16], "heads": True},
        {"sink": 4, "windows": [16, 16, 16], "heads": 2},
        {"sink": 4, "windows": [], "heads": 2},
        {"sink": 4, "windows": [16] * 1025, "heads": 1025},
        {"sink": 4, "windows": [16] * 2050, "heads": 2},
        # Full attention is stated by no windows at all.
        {"sink": 4, "windows": [WHOLE, WHOLE]},
    ],
)
def test_other_windows_are_malformed(said: Any) -> None:
    with pytest.raises(SealgateError) as found:
        AttentionWindows.of_json(said)
    assert found.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_layer_holds_sinks_and_window_at_most() -> None:
    assert [WINDOWS.held(layer, 12) for layer in range(3)] == [12, 12, 12]
    assert [WINDOWS.held(layer, 1000) for layer in range(3)] == [20, 1000, 132]
    assert WINDOWS.equivalent(1000) == 384
    assert WINDOWS.equivalent(1) == 1
    assert BY_HEAD.equivalent(1000) == -(-(20 + 1000 + 132 + 132 + 20 + 36) // 6)


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        (
            WINDOWS,
            "attention windows of 16 to 128 tokens in 2 of 3 layers, 1 keep all, 4 sink tokens",
        ),
        (
            BY_HEAD,
            "attention windows of 16 to 128 tokens in 5 of 6 KV heads, 1 keep all, 4 sink tokens",
        ),
        (
            AttentionWindows(0, (8, 8)),
            "attention windows of 8 tokens in 2 of 2 layers, 0 sink tokens",
        ),
    ],
)
def test_it_is_described_in_words(windows: AttentionWindows, said: str) -> None:
    assert windows.description == said
