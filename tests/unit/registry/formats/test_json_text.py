"""JSON of a version: what it unfolds into is bounded before anything is made of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.formats.format_check import MOST_VALUES, check_json, check_values

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(JSON)
def test_what_the_library_writes_is_taken(value: object) -> None:
    check_json(json.dumps(value, allow_nan=False).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"[]," * MOST_VALUES + b"[]]",
        b"[" + b"{}," * MOST_VALUES + b"{}]",
        b"[" * (MOST_VALUES + 1),
        b"[" + b"1," * MOST_VALUES + b"1]",
    ],
)
def test_too_many_values_are_refused_before_they_are_made(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(ValueError, match="too many values"):
        check_json(data)


def test_values_are_counted_never_too_few() -> None:
    for value in ([], [1, 2, 3], {"a": [1, {"b": 2}]}, "a,b", [[[]]]):
        data = json.dumps(value).encode()
        check_values(data, 20)
        with pytest.raises(ValueError, match="too many"):
            check_values(data, _count(value) - 1)


def _count(value: object) -> int:
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, held))


@pytest.mark.parametrize("number", [b"1" * 10**7, b"0." + b"1" * 10**7, b"1e" + b"1" * 10**7])
def test_numbers_of_too_many_digits_are_refused(number: bytes) -> None:
    with pytest.raises(ValueError, match="digits"):
        check_json(b"[" + number + b"]")


def test_nesting_is_refused() -> None:
    with pytest.raises(ValueError, match="deep"):
        check_json(b"[" * 500_000 + b"]" * 500_000)
