"""HTTP/2 (RFC 9113) as somebody speaks it who means harm: frames by hand, answers left unread.

A library would keep the rules that the tests break.
"""

import socket
import ssl
import struct
from collections.abc import Iterator

HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 1, 3, 4, 6, 7, 8, 9
ACK = END_STREAM = 1
END_HEADERS = 4
ENHANCE_YOUR_CALM = 11
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS = 0, 1, 3, 4
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE = 4
_CANCEL = 8
_LARGEST_FRAME = 16384
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


class Http2:
    """A connection to `port` of loopback, in clear unless `tls` is given. `window`: how much of an
    answer it takes.
    """

    def __init__(self, port: int, window: int = 65535, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="127.0.0.1")
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, window)
        self.socket.sendall(_PREFACE + frame(_SETTINGS, 0, 0, settings))
        self._incoming = self.socket.makefile("rb")
        # The server's settings come first.
        assert self._frame()[0] == _SETTINGS
        self.socket.sendall(frame(_SETTINGS, _ACK, 0))
        self._next = 1

    def opened(self, path: str, *headers: tuple[str, str]) -> tuple[int, bytes]:
        """The next stream, and the frame that opens it for a call of a gRPC method."""
        stream, self._next = self._next, self._next + 2
        head = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            *GRPC,
            *headers,
        )
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in head)
        return stream, frame(_HEADERS, _END_HEADERS, stream, block)

    def call(
        self, path: str, message: bytes, *headers: tuple[str, str], packed: bool = False
    ) -> bytes:
        """The frames of a whole call; `packed`: the message is compressed, as a header says."""
        framed = struct.pack(">BI", packed, len(message)) + message
        return self.call_with(path, framed, *headers)

    def call_with(self, path: str, body: bytes, *headers: tuple[str, str]) -> bytes:
        """The frames of a call with that body, whatever is in it."""
        stream, head = self.opened(path, *headers)
        pieces = [body[at : at + _LARGEST_FRAME] for at in range(0, len(body), _LARGEST_FRAME)] or [
            b""
        ]
        data = [
            frame(_DATA, _END_STREAM if at == len(pieces) - 1 else 0, stream, piece)
            for at, piece in enumerate(pieces)
        ]
        return head + b"".join(data)

    def data(self, stream: int, body: bytes, ends: bool = False) -> bytes:
        """The frame of a part of a call."""
        return frame(_DATA, _END_STREAM if ends else 0, stream, body)

    def reset(self, stream: int) -> bytes:
        """The frame that cancels a stream."""
        return frame(_RESET, 0, stream, struct.pack(">I", _CANCEL))

    def await_end(self) -> None:
        """Wait until the server has ended one of the streams. Raises: OSError where it does
        not.
        """
        ended = False
        while not ended:
            kind, flags = self._frame()
            ended = kind == _RESET or (kind in (_DATA, _HEADERS) and bool(flags & _END_STREAM))

    def next_frame(self) -> tuple[int, int, int, bytes]:
        """The kind, flags, stream and payload of the next frame that comes. Raises:
        ConnectionError.
        """
        head = self._incoming.read(9)
        if len(head) < 9:
            raise ConnectionError("the server has closed")
        payload = self._incoming.read(int.from_bytes(head[:3]))
        return head[3], head[4], int.from_bytes(head[5:]), payload

    def body(self) -> bytes:
        """The bytes of an answer until its end."""
        found = b""
        while True:
            kind, flags, _, payload = self.next_frame()
            found += payload if kind == _DATA else b""
            if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                return found

    def __enter__(self) -> "Http2":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._incoming.close()
        self.socket.close()

    def _frame(self) -> tuple[int, int]:
        """The kind and the flags of the next frame that comes. Raises: ConnectionError."""
        kind, flags, _, _ = self.next_frame()
        return kind, flags


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(text: str) -> bytes:
    """A string literal of HPACK (RFC 7541), not compressed; its length in seven bits and more."""
    data, length = text.encode(), len(text)
    if length < 127:
        return bytes([length]) + data
    length -= 127
    prefix = [127]
    while length >= 128:
        prefix.append(length % 128 + 128)
        length //= 128
    return bytes([*prefix, length]) + data


def frames(connection: Http2) -> Iterator[tuple[int, int, int, bytes]]:
    """Those that come until the connection is closed."""
    while True:
        try:
            yield connection.next_frame()
        except OSError:
            return


def goaway(connection: Http2) -> int | None:
    """The reason that the server gives for going away; None where it just closes."""
    reasons = [
        int.from_bytes(payload[4:8]) for kind, _, _, payload in frames(connection) if kind == GOAWAY
    ]
    return reasons[-1] if reasons else None
