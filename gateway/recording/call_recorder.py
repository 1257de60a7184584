"""Audit entries about calls outside the path of a request: refusals, and reads of audit data."""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from gateway.calls.call import Call
from gateway.recording.recorder import AuditRecord, AuditRecorder
from sealgate.reasons import SealgateError
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import READ

_LONGEST_REQUEST = 1024


class AuditCallRecorder:
    """Writes one entry a call. Both methods raise: RECORD_FAILED, POLICY_INVALID."""

    def __init__(
        self,
        recorder: AuditRecorder,
        policy: Callable[[], Policy],
        clock: Callable[[], datetime],
    ) -> None:
        self._recorder = recorder
        self._policy = policy
        self._clock = clock

    def refusal(self, call: Call, refusal: SealgateError) -> None:
        """Record that a call was refused."""
        self._record(call, refusal.reason.name, subject=call.principal.name)

    def read(self, call: Call, request: Message) -> None:
        """Record that a call shows audit data, and what it asked for. The entry is about nobody:
        who has read what cannot be erased with the reader.
        """
        self._record(call, READ, subject="", asked=_request_text(request))

    def _record(self, call: Call, outcome: str, *, subject: str, asked: str = "") -> None:
        self._recorder.record(
            AuditRecord(
                subject=subject,
                time=self._clock(),
                principal=call.principal.name,
                method=call.method,
                policy_digest=self._policy().digest,
                input=asked,
                outcome=outcome,
            )
        )


def _request_text(request: Message) -> str:
    """The request: canonical JSON, or its digest if it is long."""
    told = canonical.encode(MessageToDict(request, preserving_proto_field_name=True))
    return told.decode() if len(told) <= _LONGEST_REQUEST else sha256(told)
