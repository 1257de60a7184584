"""Frames: what was written is read, and nothing else is."""

import io

import pytest

from registry.sandbox import frames
from sealgate.reasons import Reason, SealgateError


def written(kind: bytes, data: bytes = b"") -> bytes:
    stream = io.BytesIO()
    frames.write_frame(stream, kind, data)
    return stream.getvalue()


@pytest.mark.parametrize("kind", [frames.CONFINED, frames.DATA, frames.REFUSAL])
@pytest.mark.parametrize("data", [b"", b"x", bytes(4096)])
def test_what_was_written_is_read(kind: bytes, data: bytes) -> None:
    stream = io.BytesIO(written(kind, data) + written(frames.END))
    assert frames.read_frame(stream, 4096) == frames.Frame(kind, data)
    assert frames.read_frame(stream, 4096) == frames.Frame(frames.END, b"")
    assert frames.read_frame(stream, 4096) is None


def test_half_a_frame_is_none() -> None:
    whole = written(frames.DATA, b"abc")
    for length in range(len(whole)):
        assert frames.read_frame(io.BytesIO(whole[:length]), 3) is None


@pytest.mark.parametrize(
    "raw",
    [
        written(frames.DATA, bytes(101)),
        written(frames.REFUSAL, bytes(4097)),
        written(frames.CONFINED, bytes(4097)),
        written(frames.END, b"x"),
        written(b"Z"),
        written(b"\x00"),
    ],
)
def test_another_kind_or_a_longer_one_is_refused(raw: bytes) -> None:
    with pytest.raises(SealgateError) as refused:
        frames.read_frame(io.BytesIO(raw), 100)
    assert refused.value.reason is Reason.WORKER_FAILED


@pytest.mark.parametrize("missing", [(), ("a",), ("names are seen (no)", "b")])
def test_what_is_missing_is_told(missing: tuple[str, ...]) -> None:
    assert frames.decode_missing(frames.encode_missing(missing)) == missing


def test_what_is_missing_can_be_printed() -> None:
    assert frames.decode_missing(frames.encode_missing(["a\x1b\u202e\nb"])) == ("a???b",)
    assert frames.decode_missing(b"\x1b[2J\xff\nb") == ("?[2J?", "b")
    assert len(frames.encode_missing(["x" * 9999])) == 4096


def test_a_refusal_keeps_its_reason_and_what_can_be_printed() -> None:
    told = frames.encode_refusal(
        SealgateError(Reason.GRAPH_MISMATCH, "a\x1b[2J\n\u202eb" + "c" * 2000)
    )
    refusal = frames.decode_refusal(told)
    assert refusal.reason is Reason.GRAPH_MISMATCH
    assert refusal.detail.startswith("a?[2J??b")
    assert len(refusal.detail) == 1000


def test_a_worker_refuses_only_for_what_running_comes_to() -> None:
    told = frames.encode_refusal(SealgateError(Reason.PRINCIPAL_UNKNOWN, "me"))
    assert frames.decode_refusal(told).reason is Reason.WORKER_FAILED


@pytest.mark.parametrize(
    "told",
    [b"", b"[]", b"{}", b'{"detail":1,"reason":"INTERNAL"}', b'{"reason":"INTERNAL","detail":""}'],
)
def test_a_malformed_refusal_is_a_failure(told: bytes) -> None:
    assert frames.decode_refusal(told).reason is Reason.WORKER_FAILED
