"""A unix socket in the place of a server's own, through which everything goes slowly."""

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK = 16 * 1024


class SlowSocket:
    """Passes on what comes after `delay` seconds, in each direction; the path is `path`."""

    def __init__(self, target: Path, path: Path) -> None:
        self.path = path
        self.delay = 0.0
        self._target = target
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for item in (self._listener, *self._open):
            # Closing alone would not wake a thread that waits for it.
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._target))
                self._open += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                time.sleep(self.delay)
                target.sendall(chunk)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def slow_socket(target: Path) -> Iterator[SlowSocket]:
    """In a folder of its own, under the same name."""
    with tempfile.TemporaryDirectory(prefix="sealgate-") as folder:
        made = SlowSocket(target, Path(folder) / target.name)
        try:
            yield made
        finally:
            made.close()
