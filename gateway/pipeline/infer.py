"""The path of a request, top to bottom.

The auth interceptor has authenticated the caller and checked the method against the policy. Then:

1. read what was asked: model, version or alias, parameters; the policy's rights must cover it;
2. resolve it to the live version, which is not `shadow`'s alone;
3. read the tensors, find whether `canary` answers in production's stead, refuse what has less time
   than it is held to (`gateway.pipeline.enforcement`), and hold the tensors against the
   version's signature;
4. screen and infer, one batched trip to the inference engine;
5. decide by the policy whether the answer may leave, or of its rows the likeliest classes alone
   (`gateway.pipeline.enforcement`);
6. record, durably, before anything is answered;
7. answer, no sooner than the policy lets it, with the receipt where it was asked for; `shadow` may
   be asked afterwards.

A refusal in steps 1 to 5 is recorded just as an answer is; a request that cannot be recorded fails.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from gateway.calls.call import Call, RecordedRefusal
from gateway.calls.call_log import cleaned, line_of_call
from gateway.calls.params import InferenceParams, read_id, read_params
from gateway.pipeline.enforcement import Enforcement, requested_seconds
from gateway.pipeline.observation import Observation
from gateway.recording.recorder import (
    AuditRecord,
    AuditRecorder,
    actions_of,
    record_of,
    screening_of,
)
from gateway.rollout.rollout import Rollout
from inference.engine.engine import Engine, InferenceResult, LiveVersion, RequestOptions
from inference.engine.statistics import RequestEnding, Statistics
from inference.model.inputs import labels, model_input, wanted_outputs
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, parameters_digest, read_inputs, write_outputs
from sealgate.trust.policy.principals import LABEL_ONLY
from sealgate.trust.receipts.answer_entry import (
    BY_ALLOWANCE,
    BY_CANARY,
    LABELS,
    REDUCED,
    SESSION,
    tensors_digest,
)
from sealgate.trust.statements.allowance import ALLOWED


@dataclass(slots=True)
class _Findings:
    """What is known of a request so far; a refusal is recorded with whatever there is."""

    live: LiveVersion | None = None
    request_id: str = ""
    parameters: str = ""
    input_digest: str = ""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    answer: InferenceResult | None = None
    # That by which it left: a newer one may be in force than when its version was looked up.
    policy: str = ""
    # By their outcomes, the outputs of entries that go before the answer's own.
    beside: dict[str, str] = field(default_factory=dict)
    session: str | None = None
    # What the policy did, in the entry's words.
    actions: set[str] = field(default_factory=set)


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
        self._engine = engine
        self._recorder = recorder
        self._enforcement = enforcement
        self.observation = observation
        self._rollout = rollout
        self._clock = clock
        self.longest = longest
        self.unresolved = Statistics()

    def __call__(self, request: oip.ModelInferRequest, call: Call) -> oip.ModelInferResponse:
        """Raises: RecordedRefusal with any reason of the steps; RECORD_FAILED unrecorded."""
        began = time.monotonic_ns()
        findings = _Findings()
        line_of_call().caller_id = cleaned(request.id)
        # What an error is to the caller that is no refusal.
        reason = Reason.INTERNAL.name
        try:
            response = self._respond(request, call, findings, began)
            reason = ""
            return response
        except SealgateError as refusal:
            reason = refusal.reason.name
            raise
        finally:
            self._count(findings, reason, time.monotonic_ns() - began)
            if findings.live is not None:
                found, session, left = findings.answer, findings.session, call.time_remaining()
                self._enforcement.delay.wait(findings.live, found, session, began, left)

    def _respond(
        self, request: oip.ModelInferRequest, call: Call, findings: _Findings, began: int
    ) -> oip.ModelInferResponse:
        now = self._clock()
        params = None
        try:
            findings.request_id = read_id(request)  # 1
            findings.parameters = parameters_digest(request)
            params = read_params(request)
            outputs = self._answer(params, request, call, findings, began / 1e9)  # 1 to 5
        except SealgateError as refusal:
            record = self._audit_record(now, call, params, findings, refusal.reason.name, "")
            receipt = self._recorder.record(record)
            wanted = params is not None and params.receipt
            raise RecordedRefusal(refusal, receipt.encode() if wanted else None) from refusal
        digest = tensors_digest((t.name, t.datatype, t.shape, t.raw) for t in outputs)
        record = self._audit_record(now, call, params, findings, "answered", digest)
        for beside, output in findings.beside.items():
            self._recorder.record(_beside(record, beside, output))
        receipt = self._recorder.record(record)  # 6
        if findings.live and findings.answer:
            self._rollout.answered(findings.live, findings.tensors, findings.answer, record)
        response = oip.ModelInferResponse(  # 7
            model_name=params.model,
            model_version=str(findings.live.version) if findings.live else "",
            id=request.id,
        )
        write_outputs(response, outputs)
        if params.receipt:
            response.parameters["receipt"].string_param = receipt.encode().decode()
        return response

    def _answer(
        self,
        params: InferenceParams,
        request: oip.ModelInferRequest,
        call: Call,
        findings: _Findings,
        began: float,
    ) -> list[Tensor]:
        live = findings.live = self._enforcement.resolve(call, params)  # 1, 2
        self._enforcement.check_answers(live)
        tensors = findings.tensors = read_inputs(request)  # 3
        findings.input_digest = tensors_digest(
            (t.name, t.datatype, t.shape, t.raw) for t in tensors.values()
        )
        caller = call.principal.name
        live = findings.live = self._rollout.select_version(
            live, params, caller, findings.input_digest
        )
        if params.alias not in (None, live.alias):
            findings.actions.add(BY_CANARY)
        self._enforcement.delay.admit(live, own := requested_seconds(call, params))
        array = model_input(live.config, tensors)
        wanted = wanted_outputs(live.config, params.outputs)
        until, active = self._granted(live, call, began, own)
        run = partial(
            self._engine.infer, live, array, RequestOptions(until, active, params.urgent, caller)
        )
        answer = findings.answer = self._rollout.alias_health.run(live, run)  # 4
        session = findings.session = self.observation.observe(caller, live, array, answer)  # 5
        released = self._enforcement.decide(
            live, params, call.principal, findings.input_digest, answer, session
        )
        findings.policy = released.policy
        if released.allowance:
            findings.actions.add(BY_ALLOWANCE)
            findings.beside[ALLOWED] = released.allowance
        if session == LABEL_ONLY:
            findings.beside[REDUCED] = SESSION
        if released.labels_only:
            findings.actions.add(LABELS)
            return [labels(answer.outputs[live.config.output.name])]
        return [Tensor.of(name, answer.outputs[name]) for name in wanted]

    def _count(self, findings: _Findings, reason: str, ns: int) -> None:
        """Counts the request for its version, if it got that far, before its caller hears of it."""
        live, answer = findings.live, findings.answer
        verdict = answer.verdict.value if answer else ""
        statistics = live.statistics if live else self.unresolved
        statistics.ended(RequestEnding(verdict, reason), ns)
        if live:
            line_of_call().ran(live.model, live.version, verdict)

    def _granted(
        self, live: LiveVersion, call: Call, began: float, own: float | None
    ) -> tuple[float, Callable[[], bool]]:
        """Until when the request may run, and what says whether it is still wanted just before.

        Where screening has two stages, a run that has begun is not cut short by the request's own
        time: which stage its row needs would decide whether it is, and neither sessions nor drift
        would see that row.
        """
        longest = began + self.longest
        ends = longest if own is None else min(longest, began + own)
        if live.ready.detector.first is None:
            return ends, call.is_active
        return longest, lambda: time.monotonic() < ends and call.is_active()

    def _audit_record(
        self,
        now: datetime,
        call: Call,
        params: InferenceParams | None,
        findings: _Findings,
        outcome: str,
        output_digest: str,
    ) -> AuditRecord:
        live, answer = findings.live, findings.answer
        return record_of(
            call,
            now,
            params,
            live,
            findings.policy,
            self._enforcement.policy,
            input=findings.input_digest,
            output=output_digest,
            outcome=outcome,
            verdict=answer.verdict.value if answer else "",
            score=repr(answer.score) if answer else "",
            threshold=repr(answer.threshold) if answer else "",
            engine=(answer and answer.engine) or (live.ready.engine if live else ""),
            parameters=findings.parameters,
            request_id=findings.request_id,
            screening=screening_of(live) if live and answer else "",
            arithmetic=live.ready.arithmetic if live and answer else "",
            actions=actions_of(outcome, findings.actions),
        )


def _beside(record: AuditRecord, beside: str, output: str) -> AuditRecord:
    """An entry of its own that goes before an answer's, and is no run of an engine's."""
    passed = replace(record, outcome=beside, output=output, engine="", actions="")
    unjudged = replace(passed, verdict="", score="", threshold="")
    return replace(unjudged, screening="", arithmetic="")
