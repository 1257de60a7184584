"""A relay between a client and a server on loopback, which counts the bytes of each direction.

It can keep what the server says to itself, and cut all connections.
"""

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

_CHUNK = 64 * 1024


class Relay:
    """`sent` and `received` are the bytes from and to the client so far.

    All connections are cut as `sent` passes each of `cuts`, which is taken off the list.
    """

    def __init__(self, port: int, cuts: Iterable[int] = ()) -> None:
        self.cuts = sorted(cuts)
        self.sent = 0
        self.received = 0
        self.silent = False
        self._port = port
        self._mutex = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End the connections that there are, and pass on what comes over others."""
        ended, self._sockets = self._sockets, []
        for item in ended:
            _end(item)
        self.silent = False

    def close(self) -> None:
        _end(self._listener)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                _end(client)
                continue
            self._sockets += [client, server]
            for ends in ((client, server, "sent"), (server, client, "received")):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, count: str) -> None:
        try:
            while chunk := source.recv(_CHUNK):
                setattr(self, count, getattr(self, count) + len(chunk))
                if not (self.silent and count == "received"):
                    target.sendall(chunk)
                self._cut_where_due()
        except OSError:
            pass

    def _cut_where_due(self) -> None:
        with self._mutex:
            due = bool(self.cuts) and self.sent >= self.cuts[0]
            if due:
                self.cuts.pop(0)
        if due:
            self.cut()


def _end(item: socket.socket) -> None:
    # Closing alone would not wake a thread that waits for it.
    with suppress(OSError):
        item.shutdown(socket.SHUT_RDWR)
    item.close()


@contextmanager
def relay_to(endpoint: str, cuts: Iterable[int] = ()) -> Iterator[Relay]:
    relay = Relay(int(endpoint.rpartition(":")[2]), cuts)
    try:
        yield relay
    finally:
        relay.close()
