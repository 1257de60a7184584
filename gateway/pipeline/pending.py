"""State of one request in the inference pipeline."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy.typing as npt

from gateway.calls.call import Call, CallLog, cleaned
from gateway.calls.messages import KnownRequest
from gateway.calls.params import InferenceParams, read_id, read_params
from gateway.recording import PreparedRecord
from inference.batching import Pace, RequestOptions
from inference.engine import InferenceResult, LiveVersion
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, parameters_digest
from sealgate.trust.policy import Policy

_NO_TENSORS: Mapping[str, Tensor] = {}


class PendingRequest:
    """One ModelInfer request. The pipeline fills it in, step by step; a refusal is recorded with
    whatever there is.

    `time` is when it came, for its entry, and `began` the same in nanoseconds of the monotonic
    clock. `outputs` leave if `error` is None. `policy` is the one that decides about the answer:
    a newer one may be in force than when its version was looked up. `beside` are the
    outputs of entries that go before the answer's own, by their outcomes, and `actions` what the
    policy did, in the entry's words. `anchors` are the classes by which near-duplicates among its
    rows are answered, if there are any.
    """

    __slots__ = (
        "actions",
        "anchors",
        "answer",
        "array",
        "began",
        "beside",
        "call",
        "error",
        "input_digest",
        "live",
        "log",
        "options",
        "outputs",
        "parameters",
        "params",
        "policy",
        "receipt",
        "record",
        "request",
        "request_id",
        "session",
        "tensors",
        "time",
        "wanted",
    )

    def __init__(
        self,
        request: oip.ModelInferRequest | KnownRequest,
        call: Call,
        log: CallLog,
        time_of_arrival: datetime,
    ) -> None:
        self.request = request
        self.call = call
        self.log = log
        self.time = time_of_arrival
        self.began = time.monotonic_ns()
        self.params: InferenceParams | None = None
        self.request_id = ""
        self.parameters = ""
        self.live: LiveVersion | None = None
        self.tensors = _NO_TENSORS
        self.input_digest = ""
        self.array: npt.NDArray[Any] | None = None
        self.options = RequestOptions()
        self.wanted: tuple[str, ...] = ()
        self.answer: InferenceResult | None = None
        self.session: str | None = None
        self.anchors: Sequence[int | None] | None = None
        self.policy: Policy | None = None
        self.beside: dict[str, str] = {}
        self.actions: set[str] = set()
        self.outputs: list[Tensor] = []
        self.record: PreparedRecord | None = None
        self.receipt: bytes | None = None
        self.error: Exception | None = None

    @property
    def pace(self) -> Pace:
        """How long finishing it keeps its thread. To record a refusal takes no longer than that of
        a quick version.
        """
        return Pace.QUICK if self.error or self.live is None else self.live.ready.pace

    @property
    def subject(self) -> str:
        """The subject of its entry."""
        named = self.params.subject if self.params else ""
        return named or self.call.principal.name

    @property
    def reason(self) -> str:
        """The reason of the refusal, `INTERNAL` for another error, empty for none."""
        if self.error is None:
            return ""
        return (
            self.error.reason.name
            if isinstance(self.error, SealgateError)
            else Reason.INTERNAL.name
        )

    def read_params(self) -> InferenceParams:
        """Note what was asked for, as far as it needs nobody's rights. Raises like
        `gateway.calls.params.read_params`.
        """
        request = self.request
        if isinstance(request, KnownRequest):
            head = request.head
            self.log.caller_id = cleaned(head.request_id)
            self.request_id, self.parameters = head.request_id, head.parameters
            self.params = head.params
            return head.params
        self.log.caller_id = cleaned(request.id)
        self.request_id = read_id(request)
        self.parameters = parameters_digest(request)
        params = self.params = read_params(request)
        return params

    def queueing(self) -> RequestOptions:
        """How it queues for a burst: its time is looked at just before the run, not here."""
        return RequestOptions(urgent=self.options.urgent, caller=self.call.principal.name)


def by_version(
    burst: Iterable[PendingRequest],
) -> Iterable[tuple[LiveVersion, list[PendingRequest]]]:
    """The requests of each version that was resolved, in order."""
    groups: dict[int, tuple[LiveVersion, list[PendingRequest]]] = {}
    for pending in burst:
        if pending.live is not None:
            groups.setdefault(id(pending.live), (pending.live, []))[1].append(pending)
    return groups.values()
