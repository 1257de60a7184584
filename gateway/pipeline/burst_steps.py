"""Steps that a burst takes together: run, decide, record and settle (`gateway.pipeline.infer`).

One policy decides about an answer: the one in force when it has been computed.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy.typing as npt

from gateway.calls.call import RecordedRefusal
from gateway.pipeline.enforcement import Enforcement
from gateway.pipeline.entries import BurstEntries
from gateway.pipeline.observation import Observation
from gateway.pipeline.pending import PendingRequest, by_version
from gateway.recording import AuditRecord, AuditRecorder, PreparedRecord, Recorded, measured
from gateway.rollout import Rollout
from inference.engine import (
    Engine,
    InferenceResult,
    LiveVersion,
    RequestEnding,
    RequestOptions,
    Statistics,
)
from inference.model.inputs import labels
from sealgate.process_log import current_request
from sealgate.reasons import SealgateError
from sealgate.remote.errors import forget_frames
from sealgate.tensors import Tensor
from sealgate.trust.policy import Consequence, Policy
from sealgate.trust.receipts.answer_entry import BY_ALLOWANCE, LABELS, REDUCED, SESSION
from sealgate.trust.statements.allowance import ALLOWED

Array = npt.NDArray[Any]


class BurstSteps:
    """Steps 4, 5, 6 and 8 of the path, each for requests that are ready together.

    Requests that came to no version are counted in `unresolved`.
    """

    def __init__(
        self,
        engine: Engine,
        recorder: AuditRecorder,
        enforcement: Enforcement,
        observation: Observation,
        rollout: Rollout,
        unresolved: Statistics,
    ) -> None:
        self._engine = engine
        self._recorder = recorder
        self._enforcement = enforcement
        self._observation = observation
        self._rollout = rollout
        self._unresolved = unresolved

    def run(self, burst: Sequence[PendingRequest]) -> None:
        """Step 4."""
        for live, group in by_version(each for each in burst if each.error is None):
            began = time.monotonic()
            try:
                results = self._engine.infer_all(live, _requests(group))
            except Exception as error:
                _fail(group, error)
            else:
                self._take(live, group, results, began)

    def run_parts(self, burst: Sequence[PendingRequest]) -> Iterator[Sequence[PendingRequest]]:
        """Step 4 where another process runs it: yields requests as their answers come."""
        failed = [each for each in burst if each.error is not None]
        if failed:
            yield failed
        for live, group in by_version(each for each in burst if each.error is None):
            began, left = time.monotonic(), dict(enumerate(group))
            try:
                for found in self._engine.infer_parts(live, _requests(group)):
                    part = [left[place] for place, _ in found]
                    self._take(live, part, [answer for _, answer in found], began)
                    for place, _ in found:
                        del left[place]
                    yield part
            except Exception as error:
                _fail(left.values(), error)
                yield list(left.values())

    def conclude(self, burst: Sequence[PendingRequest]) -> None:
        """Steps 5 and 6: each is recorded then, and has its answer or its `error`."""
        for pending in burst:
            if pending.error is None:
                self._attempt(pending, self._decide)
        self._record(burst)
        for pending in burst:
            self._count(pending)

    def settle(self, burst: Sequence[PendingRequest]) -> None:
        """Step 8."""
        for live, group in by_version(each for each in burst if each.answer is not None):
            seen = [each for each in group if each.session is None]
            answers = [each.answer for each in seen if each.answer is not None]
            if answers:
                self._observation.settle(live, answers, [e.call.principal.name for e in seen])
            rows = [e.array for e in group if e.error is None and e.array is not None]
            self._observation.answered(live, rows)
            for pending in group:
                self._show(live, pending)

    def _show(self, live: LiveVersion, pending: PendingRequest) -> None:
        answer = pending.answer
        if answer is None:
            return
        self._observation.keep(live, answer)
        if pending.error is None and pending.record is not None:
            record = partial(AuditRecord.of, pending.record, pending.time)
            caller, digest = pending.call.principal.name, pending.input_digest
            self._rollout.answered(live, pending.tensors, answer, caller, digest, record)

    def _take(
        self,
        live: LiveVersion,
        group: Sequence[PendingRequest],
        results: Sequence[InferenceResult | SealgateError],
        began: float,
    ) -> None:
        """Takes the engine's results for requests of one version, whose defects are no other's."""
        self._rollout.alias_health.ran(live, results, time.monotonic() - began)
        try:
            policy = self._enforcement.policy()
        except SealgateError as error:
            _fail(group, error)
            return
        for pending, result in zip(group, results, strict=True):
            if isinstance(result, SealgateError):
                pending.error = result
            else:
                pending.answer, pending.policy = result, policy
                self._attempt(pending, self._check_again)
        self._watch(policy, live, [each for each in group if each.answer is not None])

    def _check_again(self, pending: PendingRequest) -> None:
        if pending.policy is not None and pending.params is not None:
            self._enforcement.check_again(pending.policy, pending.call, pending.params)

    def _watch(self, policy: Policy, live: LiveVersion, group: Sequence[PendingRequest]) -> None:
        """Updates the callers' sessions with these answers."""
        arrays = [each.array for each in group if each.array is not None]
        try:
            prints = self._observation.prints(policy, live, arrays)
        except Exception as error:
            _fail(group, error)
            return
        callers: dict[str, list[tuple[PendingRequest, list[bytes] | None]]] = {}
        for pending, made in zip(group, prints, strict=True):
            callers.setdefault(pending.call.principal.name, []).append((pending, made))
        for caller, asked in callers.items():
            current_request.set(asked[-1][0].log)
            told = [(made, each.answer) for each, made in asked if each.answer is not None]
            withholds = partial(
                self._enforcement.withholds, policy, live, asked[0][0].call.principal
            )
            try:
                withheld = [
                    each.error is not None or (each.answer is not None and withholds(each.answer))
                    for each, _ in asked
                ]
                found = self._observation.session(policy, caller, live, told, withheld)
            except Exception as error:
                _fail([each for each, _ in asked], error)
                continue
            anchors = found.anchors or [None] * len(asked)
            for (pending, _), each in zip(asked, anchors, strict=True):
                pending.session, pending.anchors = found.action, each

    def _attempt(self, pending: PendingRequest, step: Callable[[PendingRequest], None]) -> None:
        current_request.set(pending.log)
        try:
            step(pending)
        except Exception as error:
            pending.error = error

    def _decide(self, pending: PendingRequest) -> None:
        """Step 5."""
        live, answer, params = pending.live, pending.answer, pending.params
        policy = pending.policy
        if live is None or answer is None or params is None or policy is None:
            return
        principal, session = pending.call.principal, pending.session
        released = self._enforcement.decide(
            policy, live, params, principal, pending.input_digest, answer, session
        )
        if released.allowance:
            pending.actions.add(BY_ALLOWANCE)
            pending.beside[ALLOWED] = released.allowance
        if session == Consequence.LABEL_ONLY:
            pending.beside[REDUCED] = SESSION
        if released.labels_only or pending.anchors:
            pending.actions.add(LABELS)
            logits = answer.outputs[live.config.output.name]
            pending.outputs = [
                labels(logits, pending.anchors)
                if pending.anchors
                else live.config.decision.reduced(logits)
            ]
        else:
            pending.outputs = [Tensor.of(name, answer.outputs[name]) for name in pending.wanted]

    def _record(self, burst: Sequence[PendingRequest]) -> None:
        """Step 6: one trip to the log. An error that is no refusal is recorded by whoever answers
        the call.
        """
        entries = BurstEntries(self._enforcement.policy)
        records: list[PreparedRecord] = []
        recorded: list[tuple[PendingRequest, int]] = []
        for pending in burst:
            if pending.error is None or isinstance(pending.error, SealgateError):
                own = entries.of(pending)
                pending.record = own[-1]
                records += own
                recorded.append((pending, len(records)))
        results = self._recorder.record_burst(records)
        start = 0
        for pending, end in recorded:
            _take_receipt(pending, results[start:end])
            start = end

    def _count(self, pending: PendingRequest) -> None:
        """Counts the request for its version, if it got that far, before its caller hears of it."""
        live, answer = pending.live, measured(pending.live, pending.answer)
        verdict = answer.verdict.value if answer else ""
        statistics = live.statistics if live else self._unresolved
        ending = RequestEnding(verdict, pending.reason)
        statistics.ended(ending, time.monotonic_ns() - pending.began)
        if live:
            pending.log.ran(live.model, live.version, verdict)


def _requests(group: Sequence[PendingRequest]) -> list[tuple[Array, RequestOptions]]:
    return [(each.array, each.options) for each in group if each.array is not None]


def _fail(group: Iterable[PendingRequest], error: Exception) -> None:
    for pending in group:
        pending.error = error


def _take_receipt(pending: PendingRequest, results: Sequence[Recorded]) -> None:
    """Give a request its receipt, from its recorded entries, of which its own is the last."""
    own = results[-1]
    failed = next((each for each in results if isinstance(each, SealgateError)), None)
    if failed is not None or isinstance(own, SealgateError):
        pending.error = failed
        return
    wanted = pending.params is not None and pending.params.receipt
    pending.receipt = own.receipt() if wanted else None
    if isinstance(pending.error, SealgateError):
        forget_frames(pending.error)
        pending.error = RecordedRefusal(pending.error, pending.receipt)
