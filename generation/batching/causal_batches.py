"""Generates many answers at once from a decoder, with transformers' continuous batching.

The library's engine takes all it is given and evicts when its cache is too small. So the pages of
each answer, for its prompt and its largest number of tokens, are reserved before the engine gets
it. Nothing is shared between prompts: the duration of one would show whether somebody has asked it
before.
"""

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel
from transformers.generation.continuous_batching import ContinuousBatchingManager

from generation.batching.answer_loop import CacheQueue
from generation.batching.sampling import chooser
from generation.config import GenerationSettings
from inference.llm.request import Sampling
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

# How long an answer may wait for its next token before its caller and deadline are looked at.
_LOOK_SECONDS = 0.05
_RESTART_SECONDS = 0.5
_STOP_SECONDS = 10.0


class CausalBatches:
    """Generates for many requests on one thread of its own. Safe for many threads."""

    def __init__(
        self, model: PreTrainedModel, ends: Sequence[int], settings: GenerationSettings
    ) -> None:
        """`ends` are the ids of tokens that end an answer."""
        self.model = model
        self._ends = list(ends)
        self._settings = settings
        self.room = CacheQueue(settings.pages, settings.queue)
        self._names = map(str, itertools.count())
        self.answers: dict[str, queue.SimpleQueue[Any]] = {}
        # A version is let go of wherever that is noticed, and may be while the mutex is held.
        self.mutex = threading.RLock()
        self._closing = threading.Event()
        # Whether `manager` runs, as far as is known here.
        self.runs = True
        self.manager = self.open_manager()
        self.thread = threading.Thread(target=self._deliver, name="answers", daemon=True)
        self.thread.start()

    @contextmanager
    def answer(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        deadline: float,
        active: Callable[[], bool] = lambda: True,
        caller: str = "",
    ) -> Iterator[Iterator[int]]:
        """The ids of an answer to the ids of a prompt, as they come, the end's included; leaving
        the block frees its part of the cache. `deadline` is in seconds of `time.monotonic`; room is
        shared out between callers.

        Raises SealgateError: as `CacheQueue.take`, DRAINING; while ids are read,
        DEADLINE_TOO_SHORT, also where `active` says that the caller has gone, and
        ENGINE_UNAVAILABLE where the engine fails.
        """
        pages = -(-(len(prompt) + sampling.max_tokens) // self._settings.page_tokens)
        self.room.take(pages, deadline, active, caller)
        name = ""
        try:
            name, answers = self._begin(prompt, sampling)
            yield self.ids(answers, deadline, active)
        finally:
            self._end(name)
            self.room.give(pages, caller)

    def close(self) -> None:
        """End: answers in progress fail."""
        with self.mutex:
            if self._closing.is_set():
                return
            self._closing.set()
            manager = self.manager
        manager.stop(block=True, timeout=_STOP_SECONDS, hard_stop=True)
        if threading.current_thread() is not self.thread:
            self.thread.join(_STOP_SECONDS)

    def open_manager(self) -> ContinuousBatchingManager:
        settings = self._settings
        manager = self.model.init_continuous_batching(
            # Which token is chosen is the chooser's; the engine takes the likeliest that it left.
            GenerationConfig(do_sample=False, eos_token_id=self._ends, pad_token_id=0),
            ContinuousBatchingConfig(
                page_size=settings.page_tokens,
                num_blocks=settings.pages,
                max_batch_tokens=settings.step_tokens,
                allow_block_sharing=False,
                safety_margin=0.0,
                # On a card a captured graph would not call the chooser again.
                use_cuda_graph=False,
                use_async_batching=False,
            ),
        )
        manager.logit_processor = chooser()
        with torch.inference_mode():
            manager.start()
        return manager

    def _begin(
        self, prompt: Sequence[int], sampling: Sampling
    ) -> tuple[str, "queue.SimpleQueue[Any]"]:
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self.mutex:
            if self._closing.is_set():
                raise SealgateError(Reason.DRAINING)
            if not self.runs:
                raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the engine has restarted")
            name = next(self._names)
            taken = self.manager.add_request(
                list(prompt),
                request_id=name,
                max_new_tokens=sampling.max_tokens,
                streaming=True,
                sampling=sampling,
            )
            if taken is None:
                raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the engine has restarted")
            # Delivery waits for the mutex, so no output arrives too early.
            self.answers[name] = answers
        return name, answers

    def _end(self, name: str) -> None:
        """Frees what an answer holds, unless it has come to its own end."""
        with self.mutex:
            if self.answers.pop(name, None) is not None:
                self.manager.cancel_request(name)

    def ids(
        self, answers: "queue.SimpleQueue[Any]", deadline: float, active: Callable[[], bool]
    ) -> Iterator[int]:
        seen = 0
        while True:
            try:
                output = answers.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                output = None
            if time.monotonic() >= deadline or not active():
                raise SealgateError(Reason.DEADLINE_TOO_SHORT, "in the middle")
            if output is None:
                continue
            if isinstance(output, Exception) or output.error is not None:
                raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the engine failed")
            # Each output holds all ids so far.
            yield from output.generated_tokens[seen:]
            seen = len(output.generated_tokens)
            if output.is_finished():
                return

    def _deliver(self) -> None:
        """Hands the engine's outputs on; where it dies, its answers fail and it begins anew, as
        often as it takes: whoever delivers must outlive whatever goes wrong.
        """
        while True:
            try:
                for output in self.manager:
                    self.hand_on(output)
                error = self.manager.background_thread_status.fatal_error
            except Exception as failure:
                error = failure
            with self.mutex:
                self.runs = False
                lost, self.answers = list(self.answers.values()), {}
            for answers in lost:
                answers.put(RuntimeError("the engine ended"))
            if self._closing.is_set():
                return
            _log.error("generation ended: %s", error)
            while not self._begin_anew():
                if self._closing.wait(_RESTART_SECONDS):
                    return

    def _begin_anew(self) -> bool:
        """Whether the engine runs again; it may lack memory, for one, that comes back."""
        try:
            # It holds a cache, and memory may have no room for a second one.
            self.manager.stop(block=True, timeout=_STOP_SECONDS, hard_stop=True)
            manager = self.open_manager()
        except Exception as error:
            _log.error("generation does not restart: %s", error)
            return False
        with self.mutex:
            self.manager, self.runs = manager, True
            closing = self._closing.is_set()
        if closing:
            # `close` has stopped the previous one.
            manager.stop(block=True, timeout=_STOP_SECONDS, hard_stop=True)
        return True

    def hand_on(self, output: Any) -> None:
        with self.mutex:
            finished = output.is_finished()
            answers = self.answers.get(output.request_id)
            if finished:
                self.answers.pop(output.request_id, None)
            elif answers is None:
                # It was cancelled before the engine had taken it up, and it did so afterwards.
                self.manager.cancel_request(output.request_id)
        if answers is not None:
            # The newest says all that an unread one did: whoever reads slowly piles up nothing.
            with suppress(queue.Empty):
                answers.get_nowait()
            answers.put(output)
