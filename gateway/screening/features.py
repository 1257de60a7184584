"""Keeps the features of all traffic for a while, where the section `[features]` says where.

A thread of its own writes them. While its queue is full, rows are dropped: no request waits for
it, and a calibration does not need every row.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.config.optional_sections import FeatureSettings
from inference.screening.traffic import TrafficFolder

_log = logging.getLogger(__name__)

_WAITING = 1024
_TOGETHER = 256
_PRUNE_SECONDS = 3600.0
_STOP_SECONDS = 5.0


class FeatureKeeper:
    """`keep` takes features and returns at once. `dropped` is how many rows were left out."""

    def __init__(self, settings: FeatureSettings, clock: Callable[[], datetime]) -> None:
        self._folder = (
            TrafficFolder(settings.folder, settings.days, settings.rows_a_day)
            if settings.folder is not None
            else None
        )
        self._clock = clock
        self._queue: queue.Queue[tuple[str, npt.NDArray[Any]] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(
            target=self._run, args=(self._folder,), name="features", daemon=True
        )
        self.dropped = 0

    def start(self) -> None:
        if self._folder is not None:
            self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, and end."""
        if self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(None, timeout=_STOP_SECONDS)
            self._thread.join(_STOP_SECONDS)

    def keep(self, digest: str, features: npt.NDArray[Any]) -> None:
        """Keep the features [n, F] of a version's request."""
        if self._folder is None:
            return
        try:
            # A copy: they are a view of a whole batch's.
            self._queue.put_nowait((digest, features.astype(np.float32)))
        except queue.Full:
            self.dropped += len(features)

    def _run(self, folder: TrafficFolder) -> None:
        pruned_at = -_PRUNE_SECONDS
        while (first := self._queue.get()) is not None:
            taken = [first, *self._waiting()]
            try:
                self._write(folder, [item for item in taken if item is not None])
                if time.monotonic() - pruned_at >= _PRUNE_SECONDS:
                    folder.prune(self._clock().date())
                    pruned_at = time.monotonic()
            except OSError as error:
                _log.error("features are not kept: %s", error)
            if any(item is None for item in taken):
                return

    def _waiting(self) -> list[tuple[str, npt.NDArray[Any]] | None]:
        """The rows queued meanwhile, up to a number."""
        found: list[tuple[str, npt.NDArray[Any]] | None] = []
        with suppress(queue.Empty):
            while len(found) < _TOGETHER:
                found.append(self._queue.get_nowait())
        return found

    def _write(self, folder: TrafficFolder, items: list[tuple[str, npt.NDArray[Any]]]) -> None:
        today = self._clock().date()
        for digest in {digest for digest, _ in items}:
            rows = np.concatenate([part for name, part in items if name == digest])
            self.dropped += len(rows) - folder.add(digest, rows, today)
