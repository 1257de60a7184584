"""A decoder that is split over several processes of this machine, each with a part of every matrix.

`SplitDecoder` starts the processes (`generation.models.split_ranks`) and sends each command to all
of them. They compute one answer or score at a time; callers wait in a fair queue. A model with a
missing part answers nothing: if one process ends, the others are ended too, whatever was asked
fails, and `on_lost` is called.
"""

import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedConfig

from generation.batching.answer_loop import CacheQueue
from generation.models.split_ranks import (
    AnswerCommand,
    Done,
    Failed,
    LogitsCommand,
    Ready,
    ScoreCommand,
    SplitWork,
    serve,
)
from generation.models.suffixes import JoinedMeasure
from inference.llm.request import Sampling
from inference.runtime.settings import CPU
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

_LOAD_SECONDS = 600.0
# How long a reply may be waited for before caller and deadline are looked at.
_LOOK_SECONDS = 0.05
_STOP_SECONDS = 10.0


class SplitDecoder:
    """The processes of one model. Safe for many threads."""

    def __init__(
        self,
        folder: Path,
        config: PreTrainedConfig,
        processes: int,
        device: str = CPU,
        dtype: str = "float32",
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """`folder` has the weights, whose `config` it is; it may be removed afterwards.

        Raises: ENGINE_UNSUITABLE for heads that do not come apart into so many parts;
        CHECKPOINT_REFUSED where a process cannot load its part.
        """
        _check_heads(config, processes)
        self.config = config
        self._on_lost = on_lost
        self._turn = threading.Lock()
        self._closing = False
        # Not from this process, whose threads may hold locks.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([serve.__module__])
        self._gone = context.Event()
        self._replies, tells = context.Pipe(duplex=False)
        self._commands: list[Connection] = []
        self.processes = []
        # Kept as long as the processes: when the first one is ready, another may still be making
        # its groups there. Without the file it would look for it until torch gives up.
        self._meeting = TemporaryDirectory()
        work = SplitWork(folder, Path(self._meeting.name) / "meeting", processes, device, dtype)
        for rank in range(processes):
            hears, sends = context.Pipe(duplex=False)
            given = (rank, work, hears, tells, self._gone)
            process = context.Process(target=serve, args=given, daemon=True)
            process.start()
            hears.close()
            self._commands.append(sends)
            self.processes.append(process)
        tells.close()
        self.ready = self._await_ready()
        self._watch = threading.Thread(target=self._await_end, name="split", daemon=True)
        self._watch.start()

    def score(
        self,
        ids: Sequence[int],
        window: int,
        written: Sequence[bool] = (),
        tail: float = 0.0,
        joined: JoinedMeasure | None = None,
        awaited: Callable[[], None] = lambda: None,
    ) -> float:
        """See `generation.models.perplexity.score`; `awaited` is as for `answer`. Raises:
        ENGINE_UNAVAILABLE.
        """
        command = ScoreCommand(tuple(ids), window, tuple(written), tail, joined)
        with self._run(command, awaited) as replies:
            (found,) = replies
        return float(found)

    def logits(self, ids: Sequence[int]) -> npt.NDArray[np.float64]:
        """Of ids the logits [tokens, vocabulary]. Raises: ENGINE_UNAVAILABLE."""
        with self._run(LogitsCommand(tuple(ids))) as replies:
            (found,) = replies
        return np.asarray(found)

    @contextmanager
    def answer(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        ends: Sequence[int],
        awaited: Callable[[], None] = lambda: None,
    ) -> Iterator[Iterator[int]]:
        """The ids of an answer as they come; leaving the block ends it. `awaited` raises where
        nobody waits any more. Raises: ENGINE_UNAVAILABLE.
        """
        with self._run(AnswerCommand(tuple(prompt), sampling, tuple(ends)), awaited) as replies:
            yield replies

    def close(self) -> None:
        """End the processes; what is asked fails."""
        self._closing = True
        for each in self._commands:
            each.close()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()
        self._meeting.cleanup()

    @contextmanager
    def _run(
        self, command: Any, awaited: Callable[[], None] = lambda: None
    ) -> Iterator[Iterator[Any]]:
        """The replies to a command, of which all have come when the next one is sent."""
        while not self._turn.acquire(timeout=_LOOK_SECONDS):
            awaited()
        try:
            self._gone.clear()
            self._send(command)
            self._is_over = False
            try:
                yield self._heard(awaited)
            finally:
                self._gone.set()
                self._drain()
        finally:
            self._turn.release()

    def _send(self, command: Any) -> None:
        try:
            for each in self._commands:
                each.send(command)
        except OSError as error:
            raise _lost() from error

    def _heard(self, awaited: Callable[[], None]) -> Iterator[Any]:
        while True:
            while not self._replies.poll(_LOOK_SECONDS):
                awaited()
            # Also where replies wait for their reader.
            awaited()
            reply = self._receive()
            if isinstance(reply, Done | Failed):
                self._is_over = True
                if isinstance(reply, Failed):
                    _log.error("a split model failed: %s", reply.how)
                    raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the engine failed")
                return
            yield reply

    def _drain(self) -> None:
        """Take what is left of the replies to a command that nobody waits for."""
        while not self._is_over:
            try:
                self._is_over = isinstance(self._receive(), Done | Failed)
            except SealgateError:
                return

    def _receive(self) -> Any:
        try:
            return self._replies.recv()
        except (EOFError, OSError) as error:
            self._is_over = True
            raise _lost() from error

    def _await_ready(self) -> Ready:
        reply: Any = None
        ended = [process.sentinel for process in self.processes]
        if self._replies in wait([self._replies, *ended], _LOAD_SECONDS):
            reply = self._receive()
        if isinstance(reply, Ready):
            return reply
        self.close()
        how = reply.how if isinstance(reply, Failed) else "a process does not load its part"
        raise SealgateError(Reason.CHECKPOINT_REFUSED, how)

    def _await_end(self) -> None:
        wait([process.sentinel for process in self.processes])
        if self._closing:
            return
        codes = [process.exitcode for process in self.processes]
        _log.error("a process of a split model ended: exit codes %s", codes)
        self.close()
        self._on_lost()


def _check_heads(config: PreTrainedConfig, processes: int) -> None:
    if config.is_encoder_decoder:
        raise SealgateError(Reason.ENGINE_UNSUITABLE, "only a decoder is split over processes")
    heads = (config.num_attention_heads, config.num_key_value_heads)
    if any(count % processes for count in heads):
        raise SealgateError(
            Reason.ENGINE_UNSUITABLE,
            f"{heads[0]} heads with {heads[1]} keys do not come apart over {processes} processes",
        )


def _lost() -> SealgateError:
    return SealgateError(Reason.ENGINE_UNAVAILABLE, "a process of the model has ended")


class SplitBatches:
    """Answers one request after another (`generation.models.architectures.AnswerBatches`)."""

    def __init__(self, decoder: SplitDecoder, ends: Sequence[int], queue: int) -> None:
        """`queue` is how many may wait."""
        self._decoder, self._ends = decoder, ends
        self.room = CacheQueue(1, queue)
        self._closed = False

    @contextmanager
    def answer(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        deadline: float,
        active: Callable[[], bool] = lambda: True,
        caller: str = "",
    ) -> Iterator[Iterator[int]]:
        """See `generation.batching.causal_batches.CausalBatches.answer`."""
        if self._closed:
            raise SealgateError(Reason.DRAINING)

        def awaited() -> None:
            if time.monotonic() >= deadline or not active():
                raise SealgateError(Reason.DEADLINE_TOO_SHORT, "in the middle")

        self.room.take(1, deadline, active, caller)
        try:
            with self._decoder.answer(prompt, sampling, self._ends, awaited) as ids:
                yield ids
        finally:
            self.room.give(1, caller)

    def close(self) -> None:
        """End: answers in progress fail."""
        self._closed = True
        self._decoder.close()
