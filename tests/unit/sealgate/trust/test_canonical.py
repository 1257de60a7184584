import json
import math
from typing import Any

import pytest
import rfc8785
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


_spelt = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.floats(allow_nan=False, width=16).map(repr),
    st.decimals(-100, 100, places=3).map(str),
    st.integers(-(2**54), 2**54).map(str),
    st.text(st.characters(max_codepoint=0x200)).map(json.dumps),
    st.text(st.characters(max_codepoint=0x7F)).map(lambda t: json.dumps(t, ensure_ascii=False)),
)


@given(st.lists(_spelt) | st.dictionaries(st.sampled_from("abAB~"), _spelt))
def test_a_spelling_is_taken_only_if_it_is_written_so(
    spelt: list[str] | dict[str, str],
) -> None:
    """The quick comparison of plain documents takes no more and no fewer than RFC 8785 allows."""
    if isinstance(spelt, dict):
        text = "{" + ",".join(f'"{name}":{value}' for name, value in spelt.items()) + "}"
    else:
        text = "[" + ",".join(spelt) + "]"
    data = text.encode()
    try:
        expected = rfc8785.dumps(json.loads(text)) == data
    except (rfc8785.CanonicalizationError, ValueError):
        expected = False
    if expected:
        assert canonical.decode(data) == json.loads(text)
    else:
        with refused(Reason.DOCUMENT_MALFORMED):
            canonical.decode(data)


@pytest.mark.parametrize("text", [chr(code) for code in range(0x80)])
def test_each_ascii_character_is_read_as_it_is_written(text: str) -> None:
    assert canonical.decode(rfc8785.dumps({text: text})) == {text: text}


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
        b'{"a":1e+16}',
        b'{"a":1e-07}',
        b'{"a":0.10}',
        b'{"a":0.1000000000000000055}',
        b'{"a":-0.0}',
        b'{"a":9007199254740993}',
        b'{"a":-9007199254740993}',
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
