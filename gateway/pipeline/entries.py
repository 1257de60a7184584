"""The log entries of a burst's requests.

Most requests of a burst differ in few fields, so the others are put into a template once.
"""

from collections.abc import Callable
from datetime import datetime

from gateway.pipeline.pending import PendingRequest
from gateway.recording import PreparedRecord, RecordTemplate, actions_of, measured, screening_of
from sealgate.tensors import digest_of
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import ANCHOR, FIELDS
from sealgate.trust.times import format_micros

ANSWERED = "answered"
# The fields that an entry before an answer's leaves empty: it is no run of an engine's.
_OF_A_RUN = ("engine", "actions", "verdict", "score", "threshold", "screening", "arithmetic")


class BurstEntries:
    """Makes the entries of one burst. `policy` is asked where a request came to none of its own."""

    def __init__(self, policy: Callable[[], Policy]) -> None:
        self._policy = policy
        self._templates: dict[tuple[object, ...], RecordTemplate] = {}
        self._times: dict[datetime, str] = {}

    def of(self, pending: PendingRequest) -> list[PreparedRecord]:
        """The entries of a request that was answered or refused, its own last."""
        outcome = pending.reason or ANSWERED
        answer = measured(pending.live, pending.answer)
        own = self._template(pending).fill(
            self._time(pending.time),
            pending.input_digest,
            "" if pending.error else digest_of(pending.outputs),
            outcome,
            answer.verdict.value if answer else "",
            repr(answer.score) if answer else "",
            pending.parameters,
            pending.request_id,
            actions_of(outcome, pending.actions),
        )
        if pending.error or not pending.beside:
            return [own]
        return [*(_before(own, *entry) for entry in pending.beside.items()), own]

    def _time(self, time: datetime) -> str:
        text = self._times.get(time)
        if text is None:
            text = self._times[time] = format_micros(time)
        return text

    def _template(self, pending: PendingRequest) -> RecordTemplate:
        live, answer, params = pending.live, pending.answer, pending.params
        principal = pending.call.principal.name
        subject = pending.subject
        model, alias = (params.model, params.alias or "") if params else ("", "")
        # A request that was judged by no policy names the one that its version was looked up by.
        if pending.policy:
            policy = pending.policy.digest
        else:
            policy = live.policy if live else self._policy().digest
        engine = (answer and answer.engine) or (live.ready.engine if live else "")
        screened = measured(live, answer)
        threshold = repr(screened.threshold) if screened else ""
        arithmetic = answer.arithmetic(live.ready.arithmetic) if answer and live else ""
        if pending.anchors:
            # Whether its own class is the same tells a search what it looks for.
            arithmetic = ANCHOR
        key = (id(live), principal, subject, model, alias, policy, engine, threshold, arithmetic)
        found = self._templates.get(key)
        if found is None:
            judged = live if answer else None
            found = self._templates[key] = RecordTemplate(
                subject=subject,
                principal=principal,
                method=pending.call.method,
                policy_digest=policy,
                model=model,
                version=str(live.version) if live else "",
                version_digest=live.digest if live else "",
                pointer_sequence=str(live.sequence) if live else "",
                threshold=threshold,
                engine=engine,
                alias=alias,
                screening=screening_of(judged) if judged else "",
                arithmetic=arithmetic,
            )
        return found


def _before(own: PreparedRecord, outcome: str, output: str) -> PreparedRecord:
    """An entry that goes before an answer's."""
    values = dict(zip(FIELDS, own.fields, strict=True)) | dict.fromkeys(_OF_A_RUN, "")
    values |= {"outcome": outcome, "output": output}
    return PreparedRecord(own.subject, tuple(values.values()))
