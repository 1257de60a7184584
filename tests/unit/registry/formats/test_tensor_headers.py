"""Our check accepts the same safetensors files as the library, without a copy."""

import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from registry.formats.bounded_bytes import MemoryBytes
from registry.formats.format_check import check_header

NAMES = st.sampled_from(["a", "b", "__metadata__"])
TENSORS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "I8", "U16", "BOOL", "X9"]),
        "shape": st.lists(st.integers(-1, 3), max_size=2),
        "data_offsets": st.lists(st.integers(0, 8), min_size=1, max_size=3),
    }
)
HEADERS = st.dictionaries(NAMES, st.one_of(TENSORS, st.just({"x": "y"}), st.just(3)), max_size=2)


def file(header: Any, size: int) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def takes(data: bytes) -> bool:
    try:
        check_header(MemoryBytes(data))
    except ValueError:
        return False
    return True


def library_takes(data: bytes) -> bool:
    try:
        safetensors.deserialize(data)
    except safetensors.SafetensorError:
        return False
    return True


@given(HEADERS, st.integers(0, 12))
def test_it_takes_nothing_that_the_library_does_not(header: Any, size: int) -> None:
    data = file(header, size)
    assert not takes(data) or library_takes(data)


@given(
    st.dictionaries(
        st.text(max_size=4),
        st.tuples(
            st.sampled_from(["<f4", "<i8", "u1", "?"]), st.lists(st.integers(0, 3), max_size=3)
        ),
        max_size=4,
    )
)
def test_it_takes_what_the_library_writes(tensors: dict[str, Any]) -> None:
    named = {
        n: np.zeros(shape, kind) for n, (kind, shape) in tensors.items() if n != "__metadata__"
    }
    assert takes(save(named, {"note": "x"}))


@pytest.mark.parametrize("cut", [0, 7, 8, 20, -1])
def test_a_file_that_was_cut(cut: int) -> None:
    data = save({"x": np.ones(4, np.float32)})
    assert not takes(data[:cut])


def test_no_tensor_is_copied() -> None:
    data = save({"x": np.zeros(1 << 22, np.uint8)})
    tracemalloc.start()
    try:
        check_header(MemoryBytes(data))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 18
