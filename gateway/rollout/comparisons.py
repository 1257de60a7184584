"""Comparisons: asks another version after the caller was answered, and records the difference.

One thread asks the other version after the caller was answered. Requests that arrive while its
queue is full are dropped and counted, so that nobody waits for a comparison.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.recording import AuditRecord, AuditRecorder, measured, screening_of
from gateway.rollout.alias_health import FAULTS, AliasHealth
from inference.engine import Engine, InferenceResult, LiveVersion, RequestOptions
from inference.model.config import ModelConfig
from inference.model.inputs import model_input
from sealgate.reasons import SealgateError
from sealgate.tensors import Tensor, digest_of
from sealgate.trust.policy import SHADOW_ALIAS
from sealgate.trust.receipts.answer_entry import AGREED, DIFFERED

_log = logging.getLogger(__name__)

_WAITING = 32
RUN_SECONDS = 5.0
_REPORT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ShadowComparison:
    """A request that `answered` has answered with `answer`, as recorded in `record`; `other` is
    to be asked the same.
    """

    answered: LiveVersion
    other: LiveVersion
    tensors: Mapping[str, Tensor]
    answer: InferenceResult
    record: AuditRecord


class ShadowComparisons:
    """Compares in a thread of its own. `dropped` is how many were left out, of all `offered`."""

    def __init__(
        self,
        engine: Engine,
        recorder: AuditRecorder,
        alias_health: AliasHealth,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._recorder = recorder
        self._alias_health = alias_health
        self._clock = clock
        self._queue: queue.Queue[ShadowComparison | None] = queue.Queue(_WAITING)
        self._stopping = threading.Event()
        self._mutex = threading.Lock()
        self._reported = (time.monotonic(), 0)
        self._thread = threading.Thread(target=self._run, name="comparisons", daemon=True)
        self.offered = 0
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Compare what is still waiting, for so long as one may take, and end."""
        if not self._thread.is_alive():
            return
        end = time.monotonic() + RUN_SECONDS
        with suppress(queue.Full):
            self._queue.put(None, timeout=RUN_SECONDS)
        self._thread.join(max(0.0, end - time.monotonic()))
        # Comparisons that still wait are left out.
        self._stopping.set()
        self._thread.join(1)

    def offer(self, comparison: ShadowComparison) -> None:
        """Compare soon, or never where too much is waiting. Returns at once."""
        with self._mutex:
            self.offered += 1
            try:
                self._queue.put_nowait(comparison)
            except queue.Full:
                self.dropped += 1

    def _run(self) -> None:
        while (comparison := self._queue.get()) is not None and not self._stopping.is_set():
            try:
                self._compare(comparison)
            except SealgateError as refusal:
                _log.warning("an answer was not compared: %s", refusal)
                with self._mutex:
                    self.dropped += 1
            except Exception:
                _log.exception("comparing an answer")
            self._report()

    def _compare(self, comparison: ShadowComparison) -> None:
        """Ask, compare, record, count. A version that fails the request differs.

        Raises SealgateError where the other version could not be asked, or the outcome not be
        recorded.
        """
        other = comparison.other
        found = None
        try:
            found = self._alias_health.run(other, lambda: self.ask(comparison))
        except SealgateError as refusal:
            if refusal.reason not in FAULTS:
                raise
        configs = comparison.answered.config, other.config
        agreed = found is not None and agree(configs, comparison.answer, found)
        self._recorder.record(self._audit_record(comparison, found, agreed))
        for live in (comparison.answered, other):
            self._alias_health.compared(live, agreed)

    def ask(self, comparison: ShadowComparison) -> InferenceResult:
        array = model_input(comparison.other.config, comparison.tensors)
        until = time.monotonic() + RUN_SECONDS
        return self._engine.infer(
            comparison.other, array, RequestOptions(until, caller=SHADOW_ALIAS)
        )

    def _audit_record(
        self, comparison: ShadowComparison, found: InferenceResult | None, agreed: bool
    ) -> AuditRecord:
        other = comparison.other
        screened = measured(other, found)
        tensors = [Tensor.of(name, data) for name, data in (found.outputs if found else {}).items()]
        return replace(
            comparison.record,
            time=self._clock(),
            version=str(other.version),
            version_digest=other.digest,
            pointer_sequence=str(other.sequence),
            policy_digest=other.policy,
            output=digest_of(tensors) if tensors else "",
            outcome=AGREED if agreed else DIFFERED,
            verdict=screened.verdict.value if screened else "",
            score=repr(screened.score) if screened else "",
            threshold=repr(screened.threshold) if screened else "",
            engine=(found and found.engine) or other.ready.engine,
            alias=other.alias,
            screening=screening_of(other) if found else "",
            arithmetic=found.arithmetic(other.ready.arithmetic) if found else "",
            actions="",
        )

    def _report(self) -> None:
        """Say now and then how many were dropped."""
        at, before = self._reported
        if self.dropped > before and time.monotonic() - at >= _REPORT_SECONDS:
            self._reported = (time.monotonic(), self.dropped)
            _log.warning("%d of %d answers were not compared", self.dropped, self.offered)


def agree(configs: Sequence[ModelConfig], one: InferenceResult, other: InferenceResult) -> bool:
    """Whether both answer every row alike, by class or tolerance: scores differ between any two
    versions. Both `configs` say how they decide: no version is judged by its own alone.
    """
    return one.outputs.keys() == other.outputs.keys() and all(
        data.shape == other.outputs[name].shape
        and not any(each.decision.changed(data, other.outputs[name]).any() for each in configs)
        for name, data in one.outputs.items()
    )
