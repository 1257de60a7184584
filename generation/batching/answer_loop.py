"""A thread that takes steps for many answers at once, and the queue for shares of the token cache.

Between two steps, answers leave and join. The batch defines what a step computes: `step_batches`
has encoder-decoders, and decoders whose attention has windows.

The queue is fair and bounded. Next is the request whose caller holds the fewest pages; among
several, the oldest. Nobody overtakes the next request, however small, so large answers get their
turn. If the queue is full, the caller with the most waiting requests gives up the newest of them to
a caller who has fewer.
"""

import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import torch

from generation.batching.sampling import draw
from inference.llm.request import Sampling
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

# How long a wait for a token or for room may last before caller and deadline are looked at.
_LOOK_SECONDS = 0.05
_STOP_SECONDS = 10.0
_NOTHING_YET = (-1, False)


@dataclass(slots=True, eq=False)
class _Ticket:
    """A place in the queue, which can be taken away."""

    caller: str
    is_given_up: bool = False


class CacheQueue:
    """Gives out `pages` of the cache. Safe for many threads."""

    def __init__(self, pages: int, queue: int) -> None:
        self._free = self.pages = pages
        self.queue = queue
        self.waiting_requests: list[_Ticket] = []
        self.held: Counter[str] = Counter()
        self._changed = threading.Condition()

    @property
    def free(self) -> int:
        """How many pages nobody has."""
        return self._free

    @property
    def waiting(self) -> int:
        """How many answers wait."""
        return len(self.waiting_requests)

    def take(
        self, pages: int, deadline: float, active: Callable[[], bool], caller: str = ""
    ) -> None:
        """Returns when the pages are the caller's; `deadline` is in seconds of `time.monotonic`.

        Raises SealgateError: PROMPT_TOO_LONG for more than there are at all, QUEUE_FULL,
        DEADLINE_TOO_SHORT, also where `active` says that the caller has gone.
        """
        if pages > self.pages:
            raise SealgateError(Reason.PROMPT_TOO_LONG, f"{pages} pages of {self.pages}")
        ticket = _Ticket(caller)
        with self._changed:
            self._queue_up(ticket)
            try:
                while self._next() is not ticket or self._free < pages:
                    if ticket.is_given_up:
                        raise SealgateError(Reason.QUEUE_FULL, f"{caller} has most waiting")
                    if time.monotonic() >= deadline or not active():
                        raise SealgateError(Reason.DEADLINE_TOO_SHORT, "before its run")
                    self._changed.wait(_LOOK_SECONDS)
                self._free -= pages
                self.held[caller] += pages
            finally:
                if not ticket.is_given_up:
                    self.waiting_requests.remove(ticket)
                self._changed.notify_all()

    def give(self, pages: int, caller: str = "") -> None:
        """Takes back what was given."""
        with self._changed:
            self._free += pages
            self.held[caller] -= pages
            if not self.held[caller]:
                # Or every caller that ever was would be kept.
                del self.held[caller]
            self._changed.notify_all()

    def _next(self) -> _Ticket | None:
        return min(self.waiting_requests, key=lambda ticket: self.held[ticket.caller], default=None)

    def _queue_up(self, ticket: _Ticket) -> None:
        if len(self.waiting_requests) >= self.queue:
            waiting = Counter(other.caller for other in self.waiting_requests)
            most = max(waiting, key=waiting.__getitem__, default=ticket.caller)
            if waiting[ticket.caller] + 1 >= waiting[most]:
                raise SealgateError(Reason.QUEUE_FULL, "too many answers wait")
            newest = next(
                other for other in reversed(self.waiting_requests) if other.caller == most
            )
            newest.is_given_up = True
            self.waiting_requests.remove(newest)
        self.waiting_requests.append(ticket)


@dataclass(slots=True, eq=False)
class AnswerInProgress:
    """`is_over` is set by its end, or by whoever does not await it any more. Its `tokens` come with
    whether each is the last; None stands for a failure.
    """

    prompt: tuple[int, ...]
    sampling: Sampling
    said: int = 0
    is_over: bool = False
    tokens: "queue.SimpleQueue[tuple[int, bool] | None]" = field(default_factory=queue.SimpleQueue)

    @property
    def longest(self) -> int:
        """How many tokens prompt and answer may have."""
        return len(self.prompt) + self.sampling.max_tokens

    def choose(self, logits: torch.Tensor, ends: Sequence[int]) -> int:
        """The next token, out of logits [vocabulary], which the reader is given."""
        place = len(self.prompt) + self.said
        drawn = self.sampling.temperature > 0
        token = draw(logits, self.sampling, place) if drawn else int(logits.argmax())
        self.said += 1
        is_last = token in ends or self.said == self.sampling.max_tokens
        self.is_over = self.is_over or is_last
        self.tokens.put((token, is_last))
        return token


class AnswerBatch(Protocol):
    """The answers that run, on one thread."""

    @property
    def answers(self) -> Sequence[AnswerInProgress]: ...

    def step(self, new: Sequence[AnswerInProgress]) -> None:
        """A step for each answer, the `new` ones included; those that are over leave before it."""


_Batch = TypeVar("_Batch", bound=AnswerBatch)


class AnswerLoop(ABC, Generic[_Batch]):
    """Answers many requests on one thread of its own. Safe for many threads."""

    def __init__(self, room: CacheQueue, step_tokens: int) -> None:
        """`room` has as much as `_cost` counts; a step takes in prompts of `step_tokens`, padded to
        the longest, or one.
        """
        self.room = room
        self._step_tokens = step_tokens
        self._batch = self._new_batch()
        self._waiting: deque[AnswerInProgress] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    @abstractmethod
    def _new_batch(self) -> _Batch:
        """One without answers."""

    @abstractmethod
    def _cost(self, answer: AnswerInProgress) -> int:
        """How much of the room it takes. Raises: PROMPT_TOO_LONG."""

    @property
    def running(self) -> int:
        """How many answers have a row."""
        return len(self._batch.answers)

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
        answer = AnswerInProgress(tuple(prompt), sampling)
        cost = self._cost(answer)
        self.room.take(cost, deadline, active, caller)
        try:
            with self._changed:
                if self._closing:
                    raise SealgateError(Reason.DRAINING)
                self._waiting.append(answer)
                self._changed.notify()
            yield _ids(answer, deadline, active)
        finally:
            # It leaves before the next one joins, which gets its space.
            answer.is_over = True
            self.room.give(cost, caller)

    def close(self) -> None:
        """End: answers in progress fail."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        """Steps; where one fails, its answers do, and the next begins anew: whoever delivers must
        outlive whatever goes wrong.
        """
        while not self._closing:
            new = self._taken(await_one=not self.running)
            try:
                with torch.inference_mode():
                    self._batch.step(new)
            except Exception as error:
                _log.error("generation failed: %s", error)
                _fail([*self._batch.answers, *new])
                self._batch = self._new_batch()
        with self._changed:
            _fail([*self._batch.answers, *self._waiting])

    def _taken(self, await_one: bool) -> list[AnswerInProgress]:
        """Those who join now, as many as a step may encode, or one."""
        found: list[AnswerInProgress] = []
        longest = 0
        with self._changed:
            while await_one and not self._waiting and not self._closing:
                self._changed.wait()
            while self._waiting:
                longest = max(longest, len(self._waiting[0].prompt))
                if found and longest * (len(found) + 1) > self._step_tokens:
                    break
                answer = self._waiting.popleft()
                if not answer.is_over:
                    found.append(answer)
        return found


def _ids(answer: AnswerInProgress, deadline: float, active: Callable[[], bool]) -> Iterator[int]:
    """The tokens as they come, until the last one."""
    while True:
        found: tuple[int, bool] | None = _NOTHING_YET
        with suppress(queue.Empty):
            found = answer.tokens.get(timeout=_LOOK_SECONDS)
        if time.monotonic() >= deadline or not active():
            raise SealgateError(Reason.DEADLINE_TOO_SHORT, "in the middle")
        if found is None:
            raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the engine failed")
        token, is_last = found
        if token >= 0:
            yield token
        if is_last:
            return


def _fail(answers: Sequence[AnswerInProgress]) -> None:
    for answer in answers:
        answer.tokens.put(None)
        answer.is_over = True
