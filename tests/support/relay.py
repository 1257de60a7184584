"""A relay between a client and a server on loopback, which counts the bytes of each direction."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 64 * 1024


class Relay:
    """`sent` and `received` are the bytes from and to the client so far."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.received = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for item in self._sockets:
            # Closing alone would not wake a thread that waits for it.
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            for ends in ((client, server, "sent"), (server, client, "received")):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, count: str) -> None:
        try:
            while chunk := source.recv(_CHUNK):
                setattr(self, count, getattr(self, count) + len(chunk))
                target.sendall(chunk)
        except OSError:
            pass


@contextmanager
def relay_to(endpoint: str) -> Iterator[Relay]:
    relay = Relay(int(endpoint.rpartition(":")[2]))
    try:
        yield relay
    finally:
        relay.close()
