"""Servers of OpenAI's protocol that are not the gateway under test."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path


@contextmanager
def transformers_server(python: str, folder: Path) -> Iterator[int]:
    """The port of `transformers serve`, which runs the model in `folder`; `python` has it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = "from transformers.cli.transformers import main; main()"
    words = ("serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32")
    process = subprocess.Popen(
        [python, "-c", program, *words, "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(process, port)
        yield port
    finally:
        process.kill()
        process.wait(30)


def _await(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + 90
    while True:
        assert process.poll() is None, "the server ended"
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.2)
        finally:
            connection.close()
