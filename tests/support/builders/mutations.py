"""Values that differ a little from valid ones, as a strategy for hypothesis."""

from hypothesis import strategies as st

_EDGES = (b"\0", b"\xff", b"\x7f", b"\x80" * 10, b"\xff" * 9 + b"\x01", b"\0" * 64, b"\r\n", b'"')
_MOST = 64


@st.composite
def mutated(draw: st.DrawFn, genuine: bytes) -> bytes:
    """One to four edits, anywhere: a byte is another one, a piece is lost, doubled, moved or put
    in, or all behind a place is gone.
    """
    data = genuine
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        data = data[:at] + draw(st.sampled_from(_EDITS))(draw, data[at:])
    return data


def _flipped(draw: st.DrawFn, rest: bytes) -> bytes:
    bit = 1 << draw(st.integers(0, 7))
    return bytes([rest[0] ^ bit]) + rest[1:] if rest else rest


def _lost(draw: st.DrawFn, rest: bytes) -> bytes:
    return rest[draw(st.integers(1, _MOST)) :]


def _doubled(draw: st.DrawFn, rest: bytes) -> bytes:
    return rest[: draw(st.integers(1, _MOST))] + rest


def _moved(draw: st.DrawFn, rest: bytes) -> bytes:
    piece = draw(st.integers(1, _MOST))
    return rest[piece:] + rest[:piece]


def _put_in(draw: st.DrawFn, rest: bytes) -> bytes:
    return draw(st.sampled_from(_EDGES) | st.binary(min_size=1, max_size=_MOST)) + rest


def _cut(draw: st.DrawFn, rest: bytes) -> bytes:
    return b""


_EDITS = (_flipped, _flipped, _flipped, _lost, _doubled, _moved, _put_in, _cut)
