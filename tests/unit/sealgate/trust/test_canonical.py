import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.reasons import Reason
from sealgate.trust import canonical
from tests.support.builders.documents.people import refused

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_json)
def test_what_is_written_reads_back(value: object) -> None:
    assert canonical.decode(canonical.encode(value)) == value


def test_keys_are_sorted_by_utf16_code_units() -> None:
    assert canonical.encode({"\U0001f600": 1, "\ufb33": 2}) == '{"😀":1,"\ufb33":2}'.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b' {"a":1}',
        b'{"a":1}\n',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e400}',
        b'"\\u0061"',
        b'"\\ud800"',
        b"\xef\xbb\xbf{}",
        b"9007199254740993",
        b"1" * 5000,
        b"[" * 100_000,
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        canonical.decode(data)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53 + 1, "\ud800", {1: 2}, {1, 2}, b"x"])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        canonical.encode(value)


@pytest.mark.parametrize("data", [b"[" + b"[]," * 10**6 + b"[]]", b"[" + b"{}," * 10**6 + b"{}]"])
def test_too_many_values_are_refused_before_they_are_made(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json, "loads", None)
    with refused(Reason.DOCUMENT_MALFORMED):
        canonical.decode(data)


def test_as_many_values_as_documents_have_are_read() -> None:
    values = [0] * (canonical.MOST_VALUES - 2)
    assert canonical.decode(canonical.encode(values)) == values


@pytest.mark.parametrize("value", ["{}", 5, None, 1.5, memoryview(b"{}")])
def test_what_is_not_bytes_is_no_document(value: Any) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        canonical.decode(value)
