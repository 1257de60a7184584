"""Tells of a promotion that passes a limit of the policy's section `outcomes`."""

import logging
from collections.abc import Callable
from datetime import datetime

from gateway.recording.recorder import AuditRecord, AuditRecorder
from inference.engine.live_table import LiveVersion
from sealgate.reasons import SealgateError
from sealgate.trust.receipts.answer_entry import ALARMED

_log = logging.getLogger(__name__)
_SERVICE = "gateway"


class OutcomeAlarm:
    """Writes a line into the process' log and an entry, about nobody, into the answer log."""

    def __init__(self, recorder: AuditRecorder, clock: Callable[[], datetime]) -> None:
        self._recorder = recorder
        self._clock = clock

    def __call__(self, live: LiveVersion, finding: str) -> None:
        place = f"{live.model}/{live.alias}, version {live.version}"
        _log.error("%s, passes a limit of the policy: %s", place, finding)
        record = AuditRecord(
            subject="",
            time=self._clock(),
            principal=_SERVICE,
            method="",
            policy_digest=live.policy,
            outcome=ALARMED,
            model=live.model,
            version=str(live.version),
            version_digest=live.digest,
            pointer_sequence=str(live.sequence),
            output=finding,
            alias=live.alias,
        )
        try:
            self._recorder.record(record)
        except SealgateError as refusal:
            # What follows from the limit does not wait for the log.
            _log.error("an alarm is not recorded: %s", refusal)
