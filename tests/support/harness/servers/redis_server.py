"""A Redis server of our own: the program `redis-server`, on a socket in a folder of its own."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.oracles import programs

_SECONDS = 60.0


class RedisServer:
    """A running server that keeps nothing; `url` is its address."""

    def __init__(self) -> None:
        self._program = programs.program("redis-server")
        # Not under a test's folder: a socket's path may have about 100 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="sealgate-"))
        self._socket = self._folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis+unix://{self._socket}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["--port", "0", "--unixsocket", str(self._socket), "--save", ""]
        log = self._folder / "log"
        self._process = subprocess.Popen(
            [self._program, *words, "--dir", str(self._folder), "--logfile", str(log)]
        )
        deadline = time.monotonic() + _SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text() if log.exists() else "no redis-server")
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_SECONDS)
            self._process = None

    def pause(self) -> None:
        """Let it hang: it answers nothing, and connections stay."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove all that it wrote."""
        self.stop()
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect(str(self._socket))
                asking.sendall(b"PING\r\n")
                return asking.recv(7) == b"+PONG\r\n"
            except OSError:
                return False
