"""The inference pipeline: the steps of inference requests, from request to record.

The unit of work is a burst: requests that are ready together go through steps 4 to 7 together, on
one thread, so that each step is paid for once. The auth interceptor has authenticated the callers
and checked the method against the policy. Then, for each request by itself:

1. read what was asked: model, version or alias, parameters; the policy's rights must cover it;
2. resolve it to the live version, which is not `shadow`'s alone;
3. read the tensors, find whether `canary` answers in production's stead, refuse what has less time
   than it is held to (`gateway.pipeline.enforcement`), and hold the tensors against the
   version's signature;

and for a burst:

4. screen and infer, one trip to the inference engine for each version;
5. decide by the policy whether each answer may leave, or of its rows the likeliest classes alone
   (`gateway.pipeline.enforcement`);
6. record all, durably, before anything is answered;
7. answer, no sooner than the policy lets it, with the receipt where it was asked for;
8. afterwards, what no answer waits for: drift, kept features, `shadow`.

A refusal in steps 1 to 5 is recorded just as an answer is; a request that cannot be recorded fails.
An error of one request is no other's.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from gateway.calls.call import Call, line_of_call
from gateway.calls.messages import KnownRequest, answer_bytes
from gateway.pipeline.burst_steps import BurstSteps
from gateway.pipeline.enforcement import Enforcement, requested_seconds
from gateway.pipeline.observation import Observation
from gateway.pipeline.pending import PendingRequest
from gateway.recording import AuditRecorder
from gateway.rollout import Rollout
from inference.batching import Batcher, BatcherLimits, Pace
from inference.engine import Engine, LiveVersion, RequestOptions, Statistics
from inference.model.inputs import model_input, wanted_outputs
from inference.observability import tracing
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.process_log import current_request
from sealgate.reasons import SealgateError
from sealgate.tensors import digest_of, read_inputs
from sealgate.trust.receipts.answer_entry import BY_CANARY

_log = logging.getLogger(__name__)

LARGEST_BURST = 256
"""As many entries as the log takes in one group."""
_WAITING = 4096


class InferencePipeline:
    """Answers ModelInfer. `longest` is the time in seconds a call without a deadline may take.

    Each version counts its requests; those that came to none are counted in `unresolved`.
    """

    def __init__(
        self,
        engine: Engine,
        recorder: AuditRecorder,
        enforcement: Enforcement,
        observation: Observation,
        rollout: Rollout,
        clock: Callable[[], datetime],
        longest: float,
    ) -> None:
        self._recorder = recorder
        self._enforcement = enforcement
        self._rollout = rollout
        self.observation = observation
        self.clock = clock
        self.longest = longest
        self.unresolved = Statistics()
        self._steps = BurstSteps(
            engine, recorder, enforcement, observation, rollout, self.unresolved
        )
        self._bursts: Batcher[list[PendingRequest], bool] = Batcher(
            self._finish_together, BatcherLimits(max_rows=LARGEST_BURST, queue_rows=_WAITING)
        )

    def __call__(self, request: oip.ModelInferRequest, call: Call) -> oip.ModelInferResponse:
        """Answer a request on its own thread; quick ones of several threads share bursts.

        Raises: RecordedRefusal with any reason of the steps; RECORD_FAILED unrecorded.
        """
        pending = PendingRequest(request, call, line_of_call(), self.clock())
        try:
            self.prepare(pending)
            self._finish_with_others(pending)
        finally:
            time.sleep(self.seconds_to_hold(pending))
        return self.response(pending)

    def prepare(self, pending: PendingRequest) -> None:
        """Steps 1 to 3. An error becomes the request's `error`, which `finish` records."""
        current_request.set(pending.log)
        try:
            self._read(pending)
        except Exception as error:
            pending.error = error

    def pace(self, pending: PendingRequest) -> Pace:
        """How long `finish` keeps its thread for the request: a record waits for an erasure of its
        subject.
        """
        pace = pending.pace
        return Pace.ALONE if self._recorder.is_erasing(pending.subject) else pace

    def finish(self, burst: Sequence[PendingRequest]) -> None:
        """Steps 4 to 6 for requests that were prepared: each is recorded then, and has its answer
        or its `error`.
        """
        self._steps.run(burst)
        self._steps.conclude(burst)

    def finish_parts(self, burst: Sequence[PendingRequest]) -> Iterator[Sequence[PendingRequest]]:
        """`finish` where another process runs them: yields requests that are recorded, as their
        answers come.
        """
        for part in self._steps.run_parts(burst):
            self._steps.conclude(part)
            yield part

    def settle(self, burst: Sequence[PendingRequest]) -> None:
        """Step 8, once the answers have left: what goes wrong here is no answer's."""
        try:
            self._steps.settle(burst)
        except Exception:
            _log.exception("after a burst was answered")

    def seconds_to_hold(self, pending: PendingRequest) -> float:
        """For how long an answer or refusal must still be held back (step 7)."""
        if pending.live is None:
            return 0.0
        left = pending.call.time_remaining()
        return self._enforcement.delay.seconds_left(
            pending.live, pending.answer, pending.session, pending.began, left, pending.policy
        )

    def response(self, pending: PendingRequest) -> oip.ModelInferResponse:
        """The answer of a finished request (step 7). Raises its `error`."""
        return oip.ModelInferResponse.FromString(self.answer(pending))

    def answer(self, pending: PendingRequest) -> bytes:
        """The same, serialized. Raises the request's `error`."""
        if pending.error is not None:
            raise pending.error
        model = pending.params.model if pending.params else ""
        version = str(pending.live.version) if pending.live else ""
        outputs, receipt = pending.outputs, pending.receipt
        return answer_bytes(model, version, pending.request_id, outputs, receipt)

    def _finish_with_others(self, pending: PendingRequest) -> None:
        if self.pace(pending) is not Pace.QUICK:
            self._finish_together([[pending]])
            return
        began = time.monotonic_ns()
        try:
            self._bursts.submit([pending], pending.queueing())
        except SealgateError as refusal:
            # Nobody else can record it: the bursts are full.
            pending.error = refusal
            self.finish([pending])
        tracing.past("burst", began, time.monotonic_ns())

    def _finish_together(self, groups: list[list[PendingRequest]]) -> list[bool]:
        burst = [pending for group in groups for pending in group]
        own = current_request.get()
        self.finish(burst)
        self.settle(burst)
        current_request.set(own)
        return [True] * len(groups)

    def _read(self, pending: PendingRequest) -> None:
        request, call = pending.request, pending.call
        params = pending.read_params()  # 1
        live = pending.live = self._enforcement.resolve(call, params, pending.time)  # 2
        self._enforcement.check_answers(live)
        tensors = pending.tensors = (  # 3
            request.tensors() if isinstance(request, KnownRequest) else read_inputs(request)
        )
        pending.input_digest = digest_of(tensors.values())
        caller = call.principal.name
        live = pending.live = self._rollout.select_version(
            live, params, caller, pending.input_digest
        )
        if params.alias not in (None, live.alias):
            pending.actions.add(BY_CANARY)
        self._enforcement.delay.admit(live, own := requested_seconds(call, params))
        pending.array = model_input(live.config, tensors)
        pending.wanted = wanted_outputs(live.config, params.outputs)
        until, active = self._granted(live, call, pending.began / 1e9, own)
        pending.options = RequestOptions(until, active, params.urgent, caller)

    def _granted(
        self, live: LiveVersion, call: Call, began: float, own: float | None
    ) -> tuple[float, Callable[[], bool]]:
        """Until when the request may run, and what says whether it is still wanted just before.

        Where some rows take longer than others, a run that has begun is not cut short by the
        request's own time: what its row needs would decide whether it is, and neither sessions nor
        drift would see that row.
        """
        longest = began + self.longest
        ends = longest if own is None else min(longest, began + own)
        if not live.ready.detector.has_slower_rows:
            return ends, call.is_active
        return longest, lambda: time.monotonic() < ends and call.is_active()
