"""Bounds how long a version may take to load.

A version is run while it is loaded: on its golden inputs, and with constants. Approvers do not see
its operators, and one endless loop would keep an engine from following the registry, so that no
revocation would arrive.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from functools import partial
from typing import Generic, TypeVar

from inference.backends.trial_load import TrialLoad
from inference.runtime.session import end_runs_of
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

LOAD_SECONDS = 600.0
"""Large models take a minute, and some providers minutes to compile one."""

T = TypeVar("T")


class LoadLimit(Generic[T]):
    """Loads versions in separate threads. A version that took too long is not tried again here."""

    def __init__(self, seconds: float = LOAD_SECONDS, trial: TrialLoad | None = None) -> None:
        """With a `trial`, a version is loaded in a worker before it is loaded here."""
        self._seconds = seconds
        self._trial = trial
        self._hung: set[str] = set()

    def load(
        self, digest: str, files: Mapping[str, bytes], build: Callable[[Mapping[str, bytes]], T]
    ) -> T:
        """The result of `build` for the files of the version of `digest`.

        Raises SealgateError(RUN_HUNG) where it takes too long, as `TrialLoad.check`, and what
        `build` raises.
        """
        if digest in self._hung:
            raise SealgateError(Reason.RUN_HUNG, "it did not load in time before")
        found: Future[T] = Future()
        work = partial(self._tried, digest, files, build)
        thread = threading.Thread(target=_settle, args=(found, work), name="load", daemon=True)
        thread.start()
        wait([found], self._seconds)
        if not found.done():
            self._hung.add(digest)
            ended = end_runs_of(thread.ident or 0)
            _log.error(
                "%s did not load within %s s: %d runs were told to end",
                *(digest, self._seconds, ended),
            )
            raise SealgateError(Reason.RUN_HUNG, f"it did not load within {self._seconds} s")
        return found.result()

    def _tried(
        self, digest: str, files: Mapping[str, bytes], build: Callable[[Mapping[str, bytes]], T]
    ) -> T:
        if self._trial is not None:
            self._trial.check(digest, files)
        return build(files)


def _settle(found: "Future[T]", build: Callable[[], T]) -> None:
    try:
        found.set_result(build())
    except BaseException as error:
        found.set_exception(error)
