"""A version that nobody closed is closed all the same, by a thread that waits for such versions."""

import gc
import threading
from types import SimpleNamespace
from typing import Any

from generation.serving.generator_version import GeneratorVersion
from inference.llm.terms import FLOAT32


class Batches:
    def __init__(self) -> None:
        self.closed = threading.Event()
        self.thread = ""

    def close(self) -> None:
        self.thread = threading.current_thread().name
        self.closed.set()


def test_another_thread_closes_a_version_that_is_collected() -> None:
    """A collector may run within the locks that joining a thread takes."""
    terms: Any = SimpleNamespace(runs_in=lambda place: place, precision=FLOAT32)
    decoder: Any = None
    batches: Any = Batches()
    version = GeneratorVersion("sha256:none", terms, decoder, None, batches)
    assert not batches.closed.is_set()
    del version
    gc.collect()
    assert batches.closed.wait(60)
    assert batches.thread == "closer"
