"""JSON is read strictly, and what cannot be read is one reason."""

import json
import threading

import pytest

from gateway.transport.http.bodies import items, members, parse, room_for, text
from sealgate.reasons import Reason, SealgateError


def test_what_is_json_is_read() -> None:
    document = {"a": [1, -2.5, "ä", True, None], "b": {}}
    assert parse(json.dumps(document).encode()) == document
    assert parse(memoryview(bytearray(b" [] "))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{",
        b"{} x",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b'{"a":1,"a":1}',
        b'[{"a":{"b":1,"c":2,"b":3}}]',
        b'{"a":1,"\\u0061":1}',
        b'"\xff"',
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"[01]",
        b"[1,]",
        b"['a']",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 10_000,
        b'"\n"',
    ],
    ids=lambda wrong: repr(wrong[:16]),
)
def test_what_is_not_is_refused(wrong: bytes) -> None:
    with pytest.raises(SealgateError) as caught:
        parse(wrong)
    assert caught.value.reason is Reason.MESSAGE_MALFORMED


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'{"":[]},'])
def test_too_many_arrays_and_objects_are_refused_before_they_are_made(
    piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(SealgateError) as caught:
        parse(b"[" + piece * 10**5 + b"0]")
    assert caught.value.reason is Reason.MESSAGE_MALFORMED


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda value: members(value, {"a"}), []),
        (lambda value: members(value, {"a"}), {}),
        (lambda value: members(value, {"a"}, {"b"}), {"a": 1, "c": 2}),
        (items, {}),
        (items, "x"),
        (text, 1),
        (text, "\ud800"),
    ],
)
def test_another_form_is_refused(read, value) -> None:
    with pytest.raises(SealgateError) as caught:
        read(value)
    assert caught.value.reason is Reason.MESSAGE_MALFORMED


def test_large_documents_are_parsed_one_at_a_time() -> None:
    entered, second = threading.Event(), threading.Event()

    def another() -> None:
        entered.set()
        with room_for(1 << 20):
            second.set()

    with room_for(1 << 20):
        thread = threading.Thread(target=another)
        thread.start()
        assert entered.wait(60)
        with room_for(100):
            # Small ones do not wait.
            assert not second.wait(0.05)
    assert second.wait(60)
    thread.join()
