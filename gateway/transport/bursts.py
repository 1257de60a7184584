"""Answers inference calls that a transport hands over whole, in bursts.

One thread brings each burst. Requests for quick versions are answered on it, together; those for
others go to other threads, a group for each version. No version takes more than a quarter of these,
so that a slow model delays no other. Compressed requests do so too, for little may unfold to much;
and calls whose tokens name unknown keys, for their issuers are asked, and anybody can write one.
Calls that another process runs are answered as its answers come. Callers share a burst as they
share a version's queue (`inference.batching.queue`).
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from gateway.admission import StreamLimiter, Threads, ThreadShares
from gateway.auth import AuthInterceptor, BurstAuthenticator, KeysAwaitedError, TokenAuthenticator
from gateway.calls.call import Call, RecordedRefusal, WholeCall, new_log
from gateway.calls.messages import (
    KnownRequest,
    RequestHeads,
    choose_encoding,
    encoding_of,
    name_field,
    parse_message,
)
from gateway.config.sections import GatewayLimits
from gateway.pipeline import LARGEST_BURST, InferencePipeline, PendingRequest
from gateway.services import InferenceService
from gateway.transport.delayed import DelayedAnswers
from gateway.transport.served_call import QUICK, ServedCall, Ways, way_of
from inference.batching import Pace, fair_parts
from inference.engine import QueuedVersion
from inference.observability import tracing
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.process_log import current_request
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import grpc_status
from sealgate.trust.policy import DEFAULT_ALIAS

_log = logging.getLogger(__name__)

METHOD = "/inference.GRPCInferenceService/ModelInfer"
_PACKED = "compressed requests"
# Threads that may wait for issuers.
_AWAITING = 8
# Of the time until a full queue is empty: for so long, its caller's next calls are refused unread.
_AGAIN = 0.1
# In seconds. That time is an estimate, which a machine that stood still has far too long.
_LONGEST_AGAIN = 1.0
# How long the end of a gateway waits for what comes after answers.
_SETTLE_SECONDS = 5.0


class BurstServer:
    """Handles bursts of ModelInfer calls; to be called by one thread at a time."""

    def __init__(
        self,
        interceptor: AuthInterceptor,
        authenticator: TokenAuthenticator,
        pipeline: InferencePipeline,
        service: InferenceService,
        stream_limiter: StreamLimiter,
        limits: GatewayLimits,
    ) -> None:
        self._interceptor = interceptor
        self._pipeline = pipeline
        self._service = service
        self._stream_limiter = stream_limiter
        # For language models, which bound their calls themselves.
        self._threads = Threads(limits.threads)
        self._shares = ThreadShares[ServedCall](self._threads, max(1, limits.threads // 4))
        # For refusals that are recorded: they wait for no version.
        self._refusing = Threads(max(1, limits.threads // 8))
        self._awaiting = Threads(_AWAITING)
        self._largest = limits.message_bytes
        self.delayed = DelayedAnswers()
        self._heads = RequestHeads()
        self._authenticator = BurstAuthenticator(authenticator)

    def __call__(self, contexts: Sequence[WholeCall]) -> None:
        """Answer a burst; what is not answered on return will be, by another thread."""
        now = self._pipeline.clock()
        self._authenticator.begin()
        ways: Ways = {}
        for context in contexts:
            served = self._admit(context, now)
            if served is not None:
                self._add(served, ways)
        self._go_on(ways)

    def stop(self) -> None:
        """Let the answers go that are held back, and end what comes after answers."""
        self.delayed.stop()
        if not self._shares.wait(_SETTLE_SECONDS):
            _log.warning("calls of slow versions are still worked on")

    def _admit(self, context: WholeCall, now: datetime) -> ServedCall | None:
        """A call that was admitted and prepared; one that was refused is answered."""
        call = Call(context, METHOD, self._stream_limiter)  # type: ignore[arg-type]
        span = tracing.begin(METHOD, call.invocation_metadata)
        served = ServedCall(context, call, new_log(METHOD), time.monotonic_ns(), span)
        current_request.set(served.log)
        try:
            with tracing.within(span):
                self._interceptor.admit(call, METHOD, self._authenticator)
            self._enter(served)
            message = context.message
            if encoding_of(message) is not None:
                self._shares.submit(_PACKED, self._answer_packed, (served,), 1)
                return None
            request = self._read(message)
            if isinstance(request, oip.ModelInferRequest) and self._service.generates(
                request.model_name
            ):
                self._threads.submit(self._answer_alone, served, request)
                return None
        except KeysAwaitedError:
            self._awaiting.submit(self._answer_awaited, served)
            return None
        except Exception as error:
            self._refuse(served, error)
            return None
        pending = self._prepare(served, request, now)
        if isinstance(request, oip.ModelInferRequest) and pending.params and not pending.error:
            told = pending.request_id, pending.parameters, pending.params
            self._heads.keep(message, request, *told)
        return served

    def _enter(self, served: ServedCall) -> None:
        """Takes the steps that follow once the caller is known. Raises: of quotas,
        PARAMETER_MALFORMED.
        """
        served.context.note_caller()
        served.leave = self._interceptor.enter(served.call)
        choose_encoding(served.call)

    def _prepare(
        self, served: ServedCall, request: oip.ModelInferRequest | KnownRequest, now: datetime
    ) -> PendingRequest:
        """Steps 1 to 3 of the pipeline."""
        call = served.call
        pending = served.pending = PendingRequest(request, call, served.log, now)
        self._pipeline.prepare(pending)
        served.caller, served.urgent = call.principal.name, pending.options.urgent
        if pending.array is not None:
            served.rows = len(pending.array)
        return pending

    def _add(self, served: ServedCall, ways: Ways) -> None:
        """Add a prepared call to those that go its way. One that is refused is answered."""
        pending = served.pending
        if pending is None:
            return
        try:
            pace, queue = self._pipeline.pace(pending), way_of(pending)
            way = queue if pace is pending.pace else (pace, 0)
            if way != QUICK:
                waiting = queue != QUICK
                before = (*self._shares.waiting(queue), *ways.get(queue, ())) if waiting else ()
                if self._is_turned_away(served, before):
                    return
        except Exception as error:
            # It is its own, and none of the others'.
            self._refuse(served, error)
            return
        ways.setdefault(way, []).append(served)

    def _go_on(self, ways: Ways) -> None:
        """Steps 4 to 8 of the pipeline for calls that were prepared, here where that is quick."""
        quick = ways.pop(QUICK, ())
        for way, group in ways.items():
            pace, _ = way
            if pace is Pace.ALONE:
                for served in group:
                    self._shares.submit(way, self._finish, (served,), 1)
            else:
                work = self._finish_parts if pace is Pace.AWAY else self._finish
                self._shares.submit(way, work, group, LARGEST_BURST)
        for burst in fair_parts(quick, LARGEST_BURST):
            self._finish(burst)

    def _is_turned_away(self, served: ServedCall, before: Sequence[ServedCall]) -> bool:
        """Refuse a call for which its version's queue has no room behind those `before` it: at
        once, for its thread would wait for those that are queued; counted, as load shedding counts.
        """
        live = served.pending.live if served.pending else None
        if live is None or not isinstance(live.ready, QueuedVersion):
            return False
        full = live.ready.refusal_of(served, before)
        if full is None:
            return False
        self._interceptor.counted_refusals[full.reason.name] += 1
        served.log.outcome = full.reason.name
        current_request.set(served.log)
        status, beginning = grpc_status(full), name_field(live.config.name)
        # A full `canary` says nothing about the calls that it is not drawn for.
        is_ordinary = live.alias == DEFAULT_ALIAS and served.context.message.startswith(beginning)
        if is_ordinary and full.retry:
            seconds = min(full.retry * _AGAIN, _LONGEST_AGAIN)
            served.context.refuse_alike(status, len(beginning), seconds)
        served.end(partial(served.context.refuse, status))
        return True

    def _read(self, message: bytes) -> oip.ModelInferRequest | KnownRequest:
        """Raises: MESSAGE_TOO_LARGE, MESSAGE_MALFORMED."""
        known = self._heads.find(message)
        # A model may have become a language model since.
        if known is not None and not self._service.generates(known.head.params.model):
            return known
        return parse_message(message, oip.ModelInferRequest.FromString, self._largest)

    def _finish(self, group: Sequence[ServedCall]) -> None:
        """Steps 4 to 8 of the pipeline for calls that were prepared."""
        burst = [served.pending for served in group if served.pending is not None]
        try:
            self._finish_traced(group, burst)
        except Exception as error:
            _log.exception("answering a burst")
            for served in group:
                self._refuse(served, error)
            return
        self._deliver_all(group)

    def _finish_parts(self, group: Sequence[ServedCall]) -> None:
        """`_finish` for calls of a version in another process."""
        left = {id(served.pending): served for served in group}
        parts = self._pipeline.finish_parts([s.pending for s in group if s.pending is not None])
        try:
            while left:
                with tracing.within(group[0].span):
                    part = next(parts)
                self._deliver_all([left.pop(id(pending)) for pending in part])
        except Exception as error:
            _log.exception("answering a burst")
            for served in left.values():
                self._refuse(served, error)

    def _deliver_all(self, group: Sequence[ServedCall]) -> None:
        """Steps 7 and 8."""
        for served in group:
            self._deliver(served)
        group[0].context.flush()
        current_request.set(None)
        self._pipeline.settle([each.pending for each in group if each.pending is not None])

    def _finish_traced(self, group: Sequence[ServedCall], burst: list[PendingRequest]) -> None:
        """The first call's trace shows the parts of the burst, the others how long it took."""
        began = time.monotonic_ns()
        with tracing.within(group[0].span):
            self._pipeline.finish(burst)
        if group[0].span is not None:
            ended = time.monotonic_ns()
            for served in group[1:]:
                with tracing.within(served.span):
                    tracing.past("burst", began, ended)

    def _deliver(self, served: ServedCall) -> None:
        """Step 7: answer, no sooner than the policy lets it."""
        pending = served.pending
        if pending is None:
            return
        current_request.set(served.log)
        try:
            hold = self._pipeline.seconds_to_hold(pending)
        except Exception as error:
            self._refuse(served, error)
            return
        if hold > 0:
            self.delayed.add(hold, partial(self._respond, served, pending))
        else:
            self._respond(served, pending)

    def _respond(self, served: ServedCall, pending: PendingRequest) -> None:
        try:
            message = self._pipeline.answer(pending)
        except Exception as error:
            self._refuse(served, error)
            return
        served.end(partial(served.context.answer, message))

    def _answer_awaited(self, served: ServedCall) -> None:
        """A call whose token may wait for its issuer's keys."""
        current_request.set(served.log)
        try:
            with tracing.within(served.span):
                self._interceptor.admit(served.call, METHOD)
            self._enter(served)
        except Exception as error:
            self._refuse_now(served, error)
            return
        self._shares.submit(_PACKED, self._answer_packed, (served,), 1)

    def _answer_packed(self, group: Sequence[ServedCall]) -> None:
        """One request, compressed or not: a few bytes may take long to unpack, and those that are
        unpacked at once are no more than a quarter of the threads. Then it goes the way of others.
        """
        (served,) = group
        current_request.set(served.log)
        try:
            message = served.context.message
            request = parse_message(message, oip.ModelInferRequest.FromString, self._largest)
            generates = self._service.generates(request.model_name)
        except Exception as error:
            self._refuse_now(served, error)
            return
        if generates:
            self._answer_alone(served, request)
        else:
            self._prepare(served, request, self._pipeline.clock())
            ways: Ways = {}
            self._add(served, ways)
            self._go_on(ways)

    def _answer_alone(self, served: ServedCall, request: oip.ModelInferRequest) -> None:
        """A language model's answer, on a thread of its own."""
        current_request.set(served.log)
        try:
            with tracing.within(served.span):
                message = self._service.ModelInfer(request, served.call).SerializeToString()
        except Exception as error:
            self._refuse_now(served, error)
            return
        served.end(partial(served.context.answer, message))

    def _refuse(self, served: ServedCall, error: Exception) -> None:
        """On another thread, where the refusal is yet to be recorded: nobody else waits for it."""
        if served.call.is_anonymous or isinstance(error, RecordedRefusal):
            self._refuse_now(served, error)
        else:
            self._refusing.submit(self._refuse_now, served, error)

    def _refuse_now(self, served: ServedCall, error: Exception) -> None:
        current_request.set(served.log)
        try:
            with tracing.within(served.span):
                status = self._interceptor.status_of(served.call, error)
        except Exception:
            # The caller must hear of it all the same.
            _log.exception("refusing a call")
            status = grpc_status(SealgateError(Reason.INTERNAL))
        served.end(partial(served.context.refuse, status))
