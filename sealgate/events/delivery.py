"""Delivers what waits: for each model in order, for each destination by itself.

A lane is what waits for one destination and one model. Its first delivery is tried until it is
taken or becomes a dead letter; only then comes the next. Lanes do not wait for one another, but
for a free worker of their destination.
"""

import heapq
import logging
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from sealgate.events.config import DeliverySettings
from sealgate.events.store import Delivery, EventStore
from sealgate.events.webhooks import NotDelivered

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
# A database that failed is asked again after this long.
_REST_SECONDS = 5.0
DELIVERED, FAILED, BURIED = "delivered", "failed", "dead"


def pause_after(
    settings: DeliverySettings, failures: int, chance: Callable[[], float] = random.random
) -> float:
    """The seconds before the next attempt, after so many failures and another one. `chance` draws
    from [0, 1): attempts of many processes are spread.
    """
    pause = min(settings.longest_pause, settings.first_pause * 2.0 ** min(failures, 60))
    return pause * (0.5 + chance() / 2)


class Receiver(Protocol):
    """Where deliveries go, as `Webhook` is."""

    @property
    def name(self) -> str: ...

    def send(self, delivery: Delivery) -> None: ...


class Lanes:
    """The threads that deliver to one destination. `results` counts attempts by how they ended."""

    def __init__(
        self,
        store: EventStore,
        receiver: Receiver,
        settings: DeliverySettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` is that of `store`."""
        self._store = store
        self._receiver = receiver
        self._settings = settings
        self._clock = clock
        self._condition = threading.Condition()
        # Lanes by when their turn comes; those that a worker has are in `_active` alone.
        self._due: list[tuple[float, str]] = []
        self._active: set[str] = set()
        self._stopped = False
        self.results: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._run, name=f"events-{receiver.name}-{n}", daemon=True)
            for n in range(settings.parallel)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End once the attempts under way have ended."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    def wake(self, model: str) -> None:
        """Look at a lane: something waits there."""
        with self._condition:
            if model not in self._active:
                self._active.add(model)
                heapq.heappush(self._due, (0.0, model))
                self._condition.notify()

    def _run(self) -> None:
        while (model := self._next()) is not None:
            try:
                pause = self._deliver(model)
            except Exception:
                # No error may end the worker: the lane would rest for ever without it.
                _log.exception("delivering to %s", self._receiver.name)
                pause = _REST_SECONDS
            if pause is not None:
                self._give_back(model, pause)

    def _next(self) -> str | None:
        """The lane whose turn it is, once there is one; None at the end."""
        with self._condition:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[1]
                self._condition.wait(wait)
            return None

    def _give_back(self, model: str, pause: float) -> None:
        with self._condition:
            heapq.heappush(self._due, (time.monotonic() + pause, model))
            self._condition.notify()

    def _deliver(self, model: str) -> float | None:
        """Try the first of a lane; return after how many seconds its next turn is, None where
        nothing waits there any more.
        """
        name = self._receiver.name
        with self._condition:
            # Within the lock, so that nobody finds the lane active that is about to end.
            delivery = self._store.first(name, model)
            if delivery is None:
                self._active.discard(model)
                return None
        try:
            self._receiver.send(delivery)
        except NotDelivered as failure:
            return self._failed(delivery, failure)
        self._store.delivered(delivery)
        self.results[DELIVERED] += 1
        return 0.0

    def _failed(self, delivery: Delivery, failure: NotDelivered) -> float:
        dead = failure.final or self._clock() - delivery.since >= self._settings.give_up
        self._store.failed(delivery, str(failure), dead=dead)
        self.results[BURIED if dead else FAILED] += 1
        told = (self._receiver.name, delivery.kind, delivery.id, failure)
        if dead:
            _log.error("%s: %s %s is a dead letter: %s", *told)
            return 0.0
        _log.warning("%s: %s %s is not delivered yet: %s", *told)
        return pause_after(self._settings, delivery.attempts)


class Deliveries:
    """All destinations, and a thread that finds what another process has let wait again."""

    def __init__(
        self,
        store: EventStore,
        receivers: Sequence[Receiver],
        settings: DeliverySettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self.lanes = {each.name: Lanes(store, each, settings, clock) for each in receivers}
        self._stopping = threading.Event()
        self._seen = 0
        self._thread = threading.Thread(target=self._look, name="events-look", daemon=True)

    def start(self) -> None:
        self._store.bury_strays(list(self.lanes))
        self._seen = self._store.version()
        self._wake_all()
        for lanes in self.lanes.values():
            lanes.start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        for lanes in self.lanes.values():
            lanes.stop()

    def wake(self, destinations: Sequence[str], model: str) -> None:
        """Deliver an event that was added for these destinations."""
        for name in destinations:
            self.lanes[name].wake(model)

    def results(self) -> dict[tuple[str, str], int]:
        """How many attempts there were, by destination and how they ended."""
        return {
            (name, result): number
            for name, lanes in self.lanes.items()
            for result, number in list(lanes.results.items())
        }

    def _wake_all(self) -> None:
        for name, model in self._store.lanes():
            if name in self.lanes:
                self.lanes[name].wake(model)

    def _look(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                found = self._store.version()
                if found != self._seen:
                    self._seen = found
                    self._wake_all()
            except sqlite3.Error:
                _log.exception("looking for what waits again")
